//! A multi-process network server library behind a C ABI. The modules, from the ground up.
#[forbid(unsafe_code)]
pub mod error;
pub mod ffi;
