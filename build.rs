//! Gives `libswoole.so` the name that programs linked to it ask for: `libswoole.so.0`. The number
//! is the first of the version, and changes when the ABI breaks.

fn main() {
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libswoole.so.{major}");
    println!("cargo:rerun-if-changed=build.rs");
}
