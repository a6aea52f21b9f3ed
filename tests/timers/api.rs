//! Timers, deferred calls and descriptors as a test calls them: the C functions with closures for
//! callbacks. What a closure owns lives as long as the process.

use crate::common::api::{last_error, Handle, Result};
use std::cell::Cell;
use std::ffi::c_void;
use std::os::fd::RawFd;
use swoole::ffi::timer::*;

type TimerCall = Box<dyn FnMut(i64)>;
type DeferCall = Box<dyn FnOnce()>;
type IoCall = Box<dyn FnMut(RawFd, i32)>;

thread_local! {
    /// The last id that this unit was given, and its process: a forked one begins anew.
    static LAST_ID: Cell<(u32, i64)> = const { Cell::new((0, 0)) };
}

fn lend<T>(call: T) -> *mut c_void {
    Box::into_raw(Box::new(call)).cast()
}

extern "C-unwind" fn call_timer(id: i64, user_data: *mut c_void) {
    // SAFETY: the user data is a lent `TimerCall`, and no timer is called while its callback runs.
    let call = unsafe { &mut *user_data.cast::<TimerCall>() };
    call(id);
}

extern "C-unwind" fn call_deferred(user_data: *mut c_void) {
    // SAFETY: the user data is a lent `DeferCall`, which is called once.
    let call = unsafe { Box::from_raw(user_data.cast::<DeferCall>()) };
    call();
}

extern "C-unwind" fn call_io(fd: RawFd, events: i32, user_data: *mut c_void) {
    // SAFETY: the user data is a lent `IoCall`, which is not called while it runs.
    let call = unsafe { &mut *user_data.cast::<IoCall>() };
    call(fd, events);
}

fn checked(is_ok: bool) -> Result<()> {
    if is_ok {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// The id, which ascends by one from 1 in each unit.
fn checked_id(id: i64) -> Result<i64> {
    if id == -1 {
        return Err(last_error());
    }
    let process = std::process::id();
    let (last_process, last_id) = LAST_ID.with(|last| last.replace((process, id)));
    let expected = if process == last_process { last_id + 1 } else { 1 };
    assert_eq!(id, expected, "the ids of a unit have a gap or begin late");
    Ok(id)
}

pub fn tick(server: Handle, ms: i64, call: impl FnMut(i64) + 'static) -> Result<i64> {
    let call: TimerCall = Box::new(call);
    checked_id(sw_server_tick(server.raw, ms, Some(call_timer), lend(call)))
}

pub fn after(server: Handle, ms: i64, call: impl FnMut(i64) + 'static) -> Result<i64> {
    let call: TimerCall = Box::new(call);
    checked_id(sw_server_after(server.raw, ms, Some(call_timer), lend(call)))
}

pub fn clear_timer(server: Handle, id: i64) -> Result<()> {
    checked(sw_server_clear_timer(server.raw, id))
}

pub fn defer(server: Handle, call: impl FnOnce() + 'static) -> Result<()> {
    let call: DeferCall = Box::new(call);
    checked(sw_server_defer(server.raw, Some(call_deferred), lend(call)))
}

pub fn add(fd: RawFd, events: i32, call: impl FnMut(RawFd, i32) + 'static) -> Result<()> {
    let call: IoCall = Box::new(call);
    checked(sw_event_add(fd, events, Some(call_io), lend(call)))
}

pub fn set(fd: RawFd, events: i32) -> Result<()> {
    checked(sw_event_set(fd, events))
}

pub fn del(fd: RawFd) -> Result<()> {
    checked(sw_event_del(fd))
}

/// The number of the error of a call that must fail.
pub fn refusal<T>(result: Result<T>) -> i32 {
    result.err().map_or(0, |error| error.code)
}
