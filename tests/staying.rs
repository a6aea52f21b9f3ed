//! Callbacks of the program that never return: what still works, and how the server ends then.

mod common;
mod puppet;
#[path = "callbacks/staying.rs"]
mod staying;
#[path = "callbacks/trouble.rs"]
mod trouble;

fn main() -> std::process::ExitCode {
    let cases = [
        staying::OF_THE_MASTER,
        staying::OF_THE_FIRST_WORKER,
        staying::OF_THE_CALLER,
        staying::OF_A_MANAGER,
        staying::OF_A_MANAGER_THAT_CALLED,
        staying::OF_A_PARENT,
        staying::OF_A_WORKER,
        staying::OF_A_THREAD,
    ];
    common::run(&cases.concat(), &[], None)
}
