//! Tests of whole rings and wirings. They stand apart, because the model checker compiles the files
//! of the rings themselves.

pub mod kill;
