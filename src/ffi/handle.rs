//! What every function of the C face begins with: is the handle alive, are the texts texts.
//!
//! A handle is looked up, never trusted: NULL, a handle that was freed and a pointer to anything
//! else are the program's mistakes and give an error. The look-up is cached for each thread, so
//! that a send pays two compares for it.

use std::cell::Cell;
use std::ffi::{c_char, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::port::OwnedPort;
use super::process::OwnedProcess;
use super::types::{sw_callback_t, sw_server_t};
use crate::error::{code, set_last, Error, Result};
use crate::model::hooks::EventKind;
use crate::server::Server;

/// What a C handle points to.
pub struct Handle {
    /// The server itself.
    pub server: Server,
    /// The functions as they were registered, by event.
    pub callbacks: Mutex<[sw_callback_t; EventKind::COUNT]>,
    /// The ports that the program has asked for, freed with the server; by index.
    pub ports: Mutex<Vec<Option<OwnedPort>>>,
    /// The user processes, which are freed with the server.
    pub processes: Mutex<Vec<OwnedProcess>>,
}

/// The handles that were made and not freed.
static LIVE: RwLock<Vec<usize>> = RwLock::new(Vec::new());
/// Counts the handles that were freed. A cached look-up is good as long as it stands still.
static FREED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The last handle that was found alive, and `FREED` at that time.
    static CACHED: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

/// Gives a new server to the C program.
pub fn give(server: Server) -> *mut sw_server_t {
    let handle = Box::new(Handle {
        server,
        callbacks: Mutex::new([None; EventKind::COUNT]),
        ports: Mutex::default(),
        processes: Mutex::default(),
    });
    let pointer = Box::into_raw(handle);
    LIVE.write().push(pointer as usize);
    pointer.cast()
}

/// Takes a server back. A running one stays.
pub fn take_back(server: *mut sw_server_t) -> Result<()> {
    if server.is_null() {
        return Ok(());
    }
    if borrow(server)?.server.is_running() {
        return Err(Error::new(
            code::WRONG_OPERATION,
            "a running server cannot be freed, end it with sw_server_shutdown first",
        ));
    }
    LIVE.write().retain(|address| *address != server as usize);
    FREED.fetch_add(1, Ordering::Release);
    // SAFETY: `borrow` found it among the live handles, each of which came from `Box::into_raw` in
    // `give`; it is no longer among them, so nobody takes it back twice.
    drop(unsafe { Box::from_raw(server.cast::<Handle>()) });
    Ok(())
}

/// The handle behind a pointer that a C program gave.
#[inline]
pub fn borrow<'a>(server: *const sw_server_t) -> Result<&'a Handle> {
    let address = server as usize;
    // Acquire pairs with the release in `take_back`.
    let freed = FREED.load(Ordering::Acquire);
    if address == 0 || CACHED.with(Cell::get) != (address, freed) {
        look_up(address)?;
        CACHED.with(|cached| cached.set((address, freed)));
    }
    // SAFETY: the address is that of a handle that was given and not taken back. The C program
    // frees no server while another thread is inside a call on it, as the header says.
    Ok(unsafe { &*server.cast::<Handle>() })
}

#[cold]
fn look_up(address: usize) -> Result<()> {
    if address == 0 {
        return Err(Error::new(code::INVALID_PARAMS, "the server is NULL"));
    }
    if !LIVE.read().contains(&address) {
        return Err(Error::new(
            code::INVALID_PARAMS,
            "this is no server: it was freed, or sw_server_new did not make it",
        ));
    }
    Ok(())
}

/// Runs the body of a C function: an error or a panic becomes the last error and `failure`.
#[inline]
pub fn guard<R>(failure: R, body: impl FnOnce() -> Result<R>) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            set_last(&error);
            failure
        }
        Err(_) => {
            let text = "an internal error of the library, please report it with the log";
            set_last(&Error::new(code::FATAL_ERROR, text));
            log::error!("{text}");
            failure
        }
    }
}

/// A text that a C program gave.
pub fn text<'a>(what: &str, pointer: *const c_char) -> Result<&'a str> {
    std::str::from_utf8(text_bytes(what, pointer)?)
        .map_err(|_| Error::new(code::INVALID_PARAMS, format!("{what} is not UTF-8 text")))
}

/// The same for what may be any bytes, as paths are.
#[inline]
pub fn text_bytes<'a>(what: &str, pointer: *const c_char) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, format!("{what} is NULL")));
    }
    // SAFETY: not NULL; that it ends with a NUL and stays as it is during the call is what the
    // header asks for.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// A text, or bytes without a NUL that are none, that a C program gave.
pub fn text_or_bytes<'a>(what: &str, pointer: *const c_char) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, format!("{what} is NULL")));
    }
    // SAFETY: as in `text`.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// More bytes than any process has: such a length is a mistake, as -1 is.
const LARGEST_LEN: usize = isize::MAX as usize >> if usize::BITS == 64 { 8 } else { 0 };

/// Bytes that a C program gave.
#[inline]
pub fn bytes<'a>(pointer: *const c_void, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || len > LARGEST_LEN {
        return Err(Error::new(
            code::INVALID_PARAMS,
            format!("{len} bytes at {pointer:p} cannot be read"),
        ));
    }
    // SAFETY: not NULL and no longer than memory can be; that so many bytes are there and stay as
    // they are during the call is what the header asks for.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), len) })
}

/// A place that a C program wants filled.
pub fn fill<T>(what: &str, place: *mut T, value: T) -> Result<()> {
    if place.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, format!("{what} is NULL")));
    }
    // SAFETY: not NULL; that it is a place of this type which may be written is what the header
    // asks for. What was there before needs no drop: the types of the C face have none.
    unsafe { place.write(value) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_a_freed_handle_and_a_foreign_pointer_are_refused() {
        let server = give(Server::new("127.0.0.1", 0, 1, 1).unwrap());
        assert!(borrow(server).is_ok());
        let mut other = 7_u64;
        for wrong in [std::ptr::null_mut(), (&mut other as *mut u64).cast()] {
            assert_eq!(borrow(wrong).err().map(|error| error.code()), Some(505));
        }
        take_back(server).unwrap();
        assert!(borrow(server).is_err());
        assert!(take_back(server).is_err());
        assert_eq!(take_back(std::ptr::null_mut()), Ok(()));
    }

    #[test]
    fn a_panic_becomes_the_failure_value_and_an_error() {
        assert!(!guard(false, || -> Result<bool> { panic!("on purpose") }));
        assert_eq!(crate::error::last_code(), code::FATAL_ERROR);
    }
}
