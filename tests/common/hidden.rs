//! A test may put a function of its own in front of one of the C library, by exporting the name:
//! the library under test then calls the test's, which can fail, wait, or call the hidden one.

/// The function of this name, with a NUL behind it, that one of this program hides.
pub fn hidden(name: &[u8]) -> *mut libc::c_void {
    assert_eq!(name.last(), Some(&0));
    // SAFETY: the name ends with a NUL and lives through the call.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast()) };
    assert!(!found.is_null());
    found
}
