//! Where the workspace's programs are.

use std::path::PathBuf;

/// The path of a program of this workspace, built in the same profile as the test that asks.
///
/// # Panics
/// When it has not been built: a test runner builds only the programs of the packages that it tests.
pub fn bin(name: &str) -> PathBuf {
    // nextest names the programs of the package under test; the variable also works in a moved target folder.
    let variable = format!("NEXTEST_BIN_EXE_{name}");
    if let Some(path) = std::env::var_os(&variable) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a running test knows where its own file is");
    let profile_dir = test
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"))
        .and_then(|deps| deps.parent())
        .expect("a test executable lies in target/<profile>/deps");
    let path = profile_dir.join(name);
    assert!(
        path.is_file(),
        "the program `{name}` is not at {}: build it first with `cargo build --bin {name}`",
        path.display()
    );
    path
}
