//! A multi-process network server library behind a C ABI. The modules, from the ground up.
#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
pub mod log;
pub mod os;
pub mod shm;

#[forbid(unsafe_code)]
pub mod event;
pub mod ipc;
#[forbid(unsafe_code)]
pub mod net;
#[forbid(unsafe_code)]
pub mod proto;

#[deny(unsafe_code)]
pub mod model;
#[forbid(unsafe_code)]
pub mod unit;

#[forbid(unsafe_code)]
pub mod server;

pub mod ffi;
