//! The callbacks of the program: when and where each comes and what it is told, and what becomes of
//! the server when one of them does not return because its process dies.

mod common;
#[path = "callbacks/dying.rs"]
mod dying;
mod puppet;
#[path = "callbacks/trouble.rs"]
mod trouble;

fn main() -> std::process::ExitCode {
    let cases = [
        dying::OF_THE_ROOT,
        dying::OF_THE_CALLER,
        dying::OF_A_MANAGER_THAT_CALLED,
        dying::OF_A_WORKER_THAT_CALLED,
        dying::OF_A_PARENT,
        dying::OF_A_MANAGER,
        dying::OF_A_WORKER,
        dying::OF_THE_FIRST_WORKER,
    ];
    common::run(&cases.concat(), &[])
}
