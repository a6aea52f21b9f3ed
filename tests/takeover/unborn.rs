//! A manager that is killed in the moment in which it has forked a worker and has not noted whom.

use crate::common::prelude::*;
use crate::puppet::{self, hold, kill, pid_of, Gate};
use crate::report;
use std::sync::atomic::{AtomicU16, Ordering};

/// The file that tells the program where its gate is.
const NOTE: &str = "gate";

/// Where the next fork of this process ends: the parent dies, the child waits at this gate. The
/// program sets it in its manager.
static GATE: AtomicU16 = AtomicU16::new(0);

/// The fork that the library calls: it stands before that of the system.
#[no_mangle]
extern "C" fn fork() -> libc::pid_t {
    let gate = GATE.swap(0, Ordering::Relaxed);
    // SAFETY: the name is a text that ends, and the system's fork takes nothing.
    let pid = unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"fork".as_ptr());
        std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::pid_t>(next)()
    };
    match (gate, pid) {
        (0, _) => {}
        (gate, 0) => hold(gate),
        // SAFETY: kills this process.
        (_, _) => unsafe {
            libc::raise(libc::SIGKILL);
        },
    }
    pid
}

/// Has the next fork of this process end at the gate that the test has noted, if it has.
pub fn arm() {
    let path = std::env::temp_dir().join(NOTE);
    let port = std::fs::read_to_string(&path).ok().and_then(|port| port.parse().ok());
    GATE.store(port.unwrap_or(0), Ordering::Relaxed);
    let is_removed = std::fs::remove_file(path).is_ok();
    report!("gate {port:?} {is_removed}");
}

/// Tells the program where its gate is.
pub fn note(server: &Running, gate: &Gate) -> std::io::Result<()> {
    std::fs::write(server.temporary().join(NOTE), gate.port()?.to_string())
}

/// The manager hears of the end of a worker right before it forks the next one.
pub fn guest(setup: &Setup) -> Outcome {
    puppet::serve_with(setup, &[("worker_num", "1")], puppet::obey, |server| {
        server.on("workerError", |_, _| arm())
    })
}

/// Two of them would take each other's messages.
pub fn a_worker_that_no_manager_knows_of_never_begins(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let gate = Gate::new()?;
    note(server, &gate)?;
    kill(pid_of(server, 0, 1)?)?;
    let unborn = gate.wait()?;
    pid_of(server, 0, 2)?;
    client.echo(b"after")?;
    drop(unborn);
    super::wait_until(|| Ok(server.descendants()?.len() == 2))?;
    client.echo(b"by one worker alone")
}
