//! A worker that takes nothing, and `max_queued_bytes`.

use super::orders::*;
use crate::common::prelude::*;
use crate::common::process;
use std::io::Write;
use std::net::Shutdown;

const LIMIT: u64 = 128 * 1024;
/// What one read brings at most.
const ONE_READ: u64 = 64 * 1024;
const FLOOD: usize = 2 << 20;

pub fn crowded(setup: &Setup) -> Outcome {
    serve(setup, &[("max_queued_bytes", "128K")])
}

/// A worker that is stuck, a helper in the other one, and a client of the stuck one who floods it.
struct Crowd {
    stuck: Commander,
    helper: Commander,
    flooder: Commander,
    flood: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Crowd {
    fn gather(server: &Running) -> Fallible<Self> {
        let mut stuck = Commander::connect(server)?;
        let helper = stuck.connect_elsewhere(server)?;
        let mut flooder = Commander::connect(server)?;
        while flooder.worker != stuck.worker {
            flooder = Commander::connect(server)?;
        }
        stuck.client.send(b"hold")?;
        server.wait_line(|line| line == format!("holding {}", stuck.worker), STEP)?;
        let mut stream = flooder.client.stream.try_clone()?;
        let flood = std::thread::spawn(move || {
            stream.write_all(&vec![b'f'; FLOOD])?;
            stream.shutdown(Shutdown::Write)
        });
        Ok(Self { stuck, helper, flooder, flood })
    }

    fn queued(&mut self) -> Fallible<u64> {
        let info = self.helper.ask(&format!("info {}", self.flooder.fd))?;
        Ok(field(&info, "recv_queued_bytes")?.parse()?)
    }

    /// Waits until the reactor reads no more for the worker.
    fn wait_full(&mut self) -> Fallible<u64> {
        let fd = self.flooder.fd;
        let is_full = |info: &str| {
            let queued = field(info, "recv_queued_bytes").ok().and_then(|text| text.parse().ok());
            queued.is_some_and(|bytes: u64| bytes > LIMIT)
        };
        self.helper.ask_until(&format!("info {fd}"), is_full)?;
        for _ in 0..ROUNDS {
            self.helper.ask("who")?;
        }
        self.queued()
    }

    /// All that the flooder gets, until its end.
    fn drain(&mut self) -> Fallible<usize> {
        let text = String::from_utf8(self.flooder.client.receive_to_end()?)?;
        Ok(text.matches('f').count())
    }
}

pub fn a_worker_that_takes_nothing_is_not_given_more_than_the_limit(server: &Running) -> Outcome {
    let mut crowd = Crowd::gather(server)?;
    let queued = crowd.wait_full()?;
    assert!(queued > LIMIT && queued <= LIMIT + ONE_READ, "{queued} bytes wait");
    assert_eq!(crowd.helper.ask("release")?, "ok");
    assert_eq!(crowd.stuck.hear()?, "held");
    assert_eq!(crowd.drain()?, FLOOD, "it is read to the end");
    crowd.flood.join().map_err(|_| "the flooder panicked")??;
    Ok(())
}

pub fn a_killed_worker_leaves_no_byte_counted_as_waiting(server: &Running) -> Outcome {
    let mut crowd = Crowd::gather(server)?;
    crowd.wait_full()?;
    process::send_signal(crowd.stuck.pid, libc::SIGKILL)?;
    // The successor takes what waits, and the reactor reads on.
    assert_eq!(crowd.drain()?, FLOOD);
    crowd.flood.join().map_err(|_| "the flooder panicked")??;
    let fd = crowd.stuck.fd;
    let is_even = |info: &str| info.contains(" recv_queued_bytes=0 ");
    crowd.helper.ask_until(&format!("info {fd}"), is_even)?;
    Ok(())
}

/// It is told while it takes nothing, and leaves as soon as its callback returns.
pub fn a_worker_that_stops_leaves_what_waits_to_its_successor(server: &Running) -> Outcome {
    let mut crowd = Crowd::gather(server)?;
    crowd.wait_full()?;
    process::send_signal(crowd.stuck.pid, libc::SIGTERM)?;
    assert_eq!(crowd.helper.ask("release")?, "ok");
    assert_eq!(crowd.stuck.hear()?, "held");
    assert_eq!(crowd.drain()?, FLOOD, "all of it is handled, by one or the other");
    crowd.flood.join().map_err(|_| "the flooder panicked")??;
    let fd = crowd.stuck.fd;
    crowd.helper.ask_until(&format!("info {fd}"), |info| info.contains(" recv_queued_bytes=0 "))?;
    let old = format!(" {}", crowd.stuck.pid);
    assert!(!crowd.stuck.ask("who")?.ends_with(&old), "it has stopped");
    Ok(())
}
