//! The library itself: its version, errors, memory that it gave away.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, CStr, CString};

use super::handle::guard;
use super::types::sw_buffer_t;
use crate::error;

/// The version of the library.
///
/// Returns: text such as "0.1.0"; never NULL.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
///
/// Memory: the text belongs to the library and lives as long as the program.
#[no_mangle]
pub extern "C" fn sw_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The number of the last error of the calling thread.
///
/// Returns: an errno of the system (below 500) or one of SW_ERROR_...; 0 if there was none. Reading
/// does not clear it, success of another call does not either. sw_server_start and each worker
/// begin with 0.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_last_error() -> c_int {
    error::last_code()
}

thread_local! {
    /// What the last call of `sw_last_error_message` returned: it stays while errors go on.
    static SHOWN: RefCell<CString> = RefCell::default();
}

/// The last error of the calling thread as a sentence: what failed, on which value, what to do.
///
/// Returns: the sentence; empty if there was no error; never NULL.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
///
/// Memory: the text belongs to the library and is valid until the next call of this function in
/// this thread.
#[no_mangle]
pub extern "C" fn sw_last_error_message() -> *const c_char {
    let text = error::with_last_message(CStr::to_owned);
    SHOWN.with(|shown| {
        let mut shown = shown.borrow_mut();
        *shown = text;
        shown.as_ptr()
    })
}

thread_local! {
    /// What the last call of `sw_strerror` returned, if the text is not one of the table.
    static DESCRIBED: RefCell<CString> = RefCell::default();
}

/// What an error number means.
///
/// - `code`: a number of sw_last_error; any other number gives "unknown error".
///
/// Returns: the text; never NULL.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
///
/// Memory: the text belongs to the library and is valid until the next call of this function in
/// this thread.
#[no_mangle]
pub extern "C" fn sw_strerror(code: c_int) -> *const c_char {
    if let Some(text) = error::text(code) {
        return text.as_ptr();
    }
    let text = CString::new(error::describe(code)).unwrap_or_default();
    DESCRIBED.with(|described| {
        let mut described = described.borrow_mut();
        *described = text;
        described.as_ptr()
    })
}

/// Gives back a buffer that the library filled.
///
/// - `buffer`: the buffer; NULL and an empty one are harmless. It is empty afterwards.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
///
/// Memory: the bytes must not be used any more.
#[no_mangle]
pub extern "C" fn sw_buffer_free(buffer: *mut sw_buffer_t) {
    guard((), || {
        if buffer.is_null() {
            return Ok(());
        }
        // SAFETY: not NULL; that it is a buffer is what the header asks for.
        let taken = unsafe { buffer.replace(sw_buffer_t { data: std::ptr::null_mut(), len: 0 }) };
        if !taken.data.is_null() {
            let bytes = std::ptr::slice_from_raw_parts_mut(taken.data, taken.len);
            // SAFETY: the library fills buffers by `buffer_of` and `buffer_from` alone, which made
            // them from such a box; it was emptied, so it is given back once.
            drop(unsafe { Box::from_raw(bytes) });
        }
        Ok(())
    });
}

/// The same without a copy; no bytes are NULL.
pub(super) fn buffer_from(bytes: Vec<u8>) -> sw_buffer_t {
    let len = bytes.len();
    let data = match len {
        0 => std::ptr::null_mut(),
        _ => Box::into_raw(bytes.into_boxed_slice()).cast::<u8>(),
    };
    sw_buffer_t { data, len }
}

/// Bytes for the caller, who gives them back by `sw_buffer_free`.
pub(super) fn buffer_of(bytes: &[u8]) -> sw_buffer_t {
    let len = bytes.len();
    let data = Box::into_raw(bytes.to_vec().into_boxed_slice()).cast::<u8>();
    sw_buffer_t { data, len }
}
