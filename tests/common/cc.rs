//! Compiles what the documentation shows against the library, as a user would.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a text is compiled.
#[derive(Clone, Copy)]
pub enum Language {
    C,
    Cpp,
}

impl Language {
    fn compiler(self) -> &'static str {
        match self {
            Language::C => "cc",
            Language::Cpp => "c++",
        }
    }

    fn flags(self) -> [&'static str; 2] {
        match self {
            Language::C => ["-std=c11", "-xc"],
            Language::Cpp => ["-std=c++17", "-xc++"],
        }
    }
}

/// A folder with the library under the name that programs ask for.
pub fn library_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let library = std::env::current_exe()
        .expect("the test has a path")
        .ancestors()
        .map(|folder| folder.join("libswoole.so"))
        .find(|path| path.exists())
        .expect("libswoole.so stands beside or above the test");
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::copy(library, folder.join("libswoole.so.0")).expect("the library can be copied");
    folder
}

/// Compiles a whole program into a folder with the library. `Err` holds what the compiler said.
pub fn build(language: Language, folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let program = folder.join(name);
    let runtime_path = format!("-Wl,-rpath,{}", folder.display());
    let library = folder.join("libswoole.so.0");
    let link = [OsStr::new("-xnone"), library.as_os_str(), OsStr::new(&runtime_path)];
    let output = [OsStr::new("-o"), program.as_os_str()];
    run(language, &source(folder, name, text), &[link.as_slice(), output.as_slice()].concat())?;
    Ok(program)
}

/// Has the compiler look at a part of a program.
pub fn check(language: Language, folder: &Path, name: &str, text: &str) -> Result<(), String> {
    // Compiled to the end: some warnings come late.
    let flags = ["-c", "-Wno-unused-function", "-o", "/dev/null"].map(OsStr::new);
    run(language, &source(folder, name, text), &flags)
}

fn source(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(format!("{name}.source"));
    fs::write(&path, text).expect("the source can be written");
    path
}

fn run(language: Language, source: &Path, more: &[&OsStr]) -> Result<(), String> {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let output = Command::new(language.compiler())
        .args(language.flags())
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .args([include.as_os_str(), source.as_os_str()])
        .args(more)
        .output()
        .map_err(|error| format!("{}: {error}, see scripts/setup", language.compiler()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
