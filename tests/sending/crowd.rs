//! Many at once: senders to one connection, and peers that do not read beside those that do.

use super::api::{self, MIB};
use super::users::Process;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, ask, number, serve, serve_with, timers};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Workers have their ids for numbers, the others these.
const USER: u32 = 2;
const ABOVE: u32 = 3;
const SENDERS: usize = 4;
const BLOCKS: u32 = 25;
const BLOCK: usize = MIB;
/// Sender and number stand before the bytes of a block.
const HEAD: usize = 8;

fn block(sender: u32, number: u32) -> Vec<u8> {
    let mut block = vec![(sender * 50 + number) as u8; BLOCK];
    block[..4].copy_from_slice(&sender.to_be_bytes());
    block[4..HEAD].copy_from_slice(&number.to_be_bytes());
    block
}

/// The first connection is sent blocks by both workers, by a user process, and by the master or,
/// where a worker stands in for that, by the manager.
pub fn four_senders(setup: &Setup) -> Outcome {
    serve_with(setup, &[("socket_buffer_size", "4M")], api::obey, |server| {
        server.on("workerStart", |server, event| {
            send_by_timer(server, event.worker().worker_id.unsigned_abs());
        })?;
        Process::start_with(server, |server, _| send_by_timer(server, USER))?;
        match setup.mode {
            Mode::Base => server.on("managerStart", |server, _| send_by_timer(server, ABOVE)),
            Mode::Process | Mode::Thread => {
                server.on("start", |server, _| send_by_timer(server, ABOVE))
            }
        }
    })
}

fn send_by_timer(server: Handle, sender: u32) {
    let mut next = 0;
    let timer = timers::tick(server, 1, move |id| {
        // What is refused, because too much waits or nobody is there, is sent again.
        while next < BLOCKS && server.send(1, &block(sender, next)).is_ok() {
            next += 1;
        }
        // A user process with nothing in its loop ends and begins anew.
        if next == BLOCKS && sender != USER {
            timers::clear_timer(server, id).expect("the timer runs");
        }
    });
    timer.expect("a timer can be set");
}

pub fn blocks_of_four_senders_never_mix(server: &Running) -> Outcome {
    let mut reader = server.connect()?;
    let mut next = [0; SENDERS];
    let (mut switches, mut last) = (0, 0);
    let mut block_here = vec![0; BLOCK];
    while next.iter().sum::<u32>() < BLOCKS * SENDERS as u32 {
        reader.stream.read_exact(&mut block_here)?;
        let word = |at: usize| {
            let bytes = block_here[at..at + 4].try_into().map_err(|_| "no number");
            bytes.map(|bytes| u32::from_be_bytes(bytes) as usize)
        };
        let (sender, number) = (word(0)?, word(4)? as u32);
        assert!(sender < SENDERS, "no block: {:?}", &block_here[..HEAD]);
        assert_eq!(number, next[sender], "blocks of sender {sender} in order");
        assert!(block_here == block(sender as u32, number), "block {number} of {sender}");
        next[sender] += 1;
        switches += usize::from(sender != last);
        last = sender;
    }
    println!("{:?}: the sender changed {switches} times", server.mode());
    assert!(switches >= SENDERS);
    Ok(())
}

const SLOW: usize = 200;
const HEALTHY: usize = 200;
/// `socket_buffer_size`. Where it is less than a lane has room for, so much can wait instead.
const LIMIT: usize = 512 * 1024;
/// Bytes of each send.
const MESSAGE: usize = 64 * 1024;
/// What lanes, allocators and the tables of connections take.
const SLACK: usize = 8 * MIB;
/// A machine that does other things beside makes single answers late.
const TRIES: usize = 10;
/// As fast as this is fast enough.
const FLOOR: Duration = Duration::from_millis(20);

pub fn small_buffers(setup: &Setup) -> Outcome {
    serve(setup, &[("socket_buffer_size", "512K")], api::obey)
}

/// The time within which 99 of 100 answers come, all connections taking turns.
fn percentile_99(clients: &mut [Client]) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        for client in clients.iter_mut() {
            let begin = Instant::now();
            client.send(&[puppet::NO_TEXT; 64])?;
            client.receive(64)?;
            times.push(begin.elapsed());
        }
    }
    times.sort();
    Ok(times[times.len() * 99 / 100])
}

/// The best of some tries: what else the machine does comes and goes, what slow peers cost stays.
fn best_percentile_99(clients: &mut [Client], enough: Duration) -> Result<Duration> {
    let mut best = percentile_99(clients)?;
    for _ in 1..TRIES {
        if best <= enough {
            break;
        }
        best = best.min(percentile_99(clients)?);
    }
    Ok(best)
}

/// Has the system keep little for a peer that does not read, since there are many of them.
fn take_little(client: &Client) -> std::io::Result<()> {
    let (descriptor, size) = (client.stream.as_raw_fd(), 64 * 1024_i32);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_RCVBUF);
    let value: *const i32 = &size;
    // SAFETY: the option takes an int, which lives through the call.
    match unsafe { libc::setsockopt(descriptor, level, option, value.cast(), 4) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Where a connection is.
struct Place {
    worker: usize,
    session: i64,
}

fn place_of(client: &mut Client) -> Result<Place> {
    let who = ask(client, "who")?;
    let (worker, session) = who.split_once(' ').ok_or("no worker")?;
    let session = number(session.rsplit(' ').next().unwrap_or(""));
    Ok(Place { worker: number(worker), session })
}

pub fn peers_that_do_not_read_cost_those_that_do_nothing(server: &Running) -> Outcome {
    let connect = |count| (0..count).map(|_| server.connect()).collect::<Result<Vec<_>>>();
    let mut healthy = connect(HEALTHY)?;
    let mut slow = connect(SLOW)?;
    slow.iter().try_for_each(take_little)?;
    let slow: Vec<Place> = slow.iter_mut().map(place_of).collect::<Result<_>>()?;
    let mut controls = [puppet::connect_to(server, 0)?.0, puppet::connect_to(server, 1)?.0];
    let alone = best_percentile_99(&mut healthy, FLOOR)?;
    let before = puppet::memory_bytes(server)? as usize;
    // Each is sent to by its own worker until it is full, and what the system takes of that late is
    // made up for.
    for Place { worker, session } in &slow {
        let control = controls.get_mut(*worker).ok_or("no such worker")?;
        let end = Instant::now() + STEP;
        while number::<usize>(&ask(control, &format!("waiting {session}"))?) < LIMIT {
            let answer = ask(control, &format!("pour {session} {MESSAGE}"))?;
            assert!(answer.ends_with(" 1008"), "{answer}");
            assert!(Instant::now() < end, "{session} does not become full");
        }
        assert_eq!(ask(control, &format!("tell {session} more"))?, "1008");
    }
    let beside = best_percentile_99(&mut healthy, FLOOR.max(alone * 2))?;
    let above = (puppet::memory_bytes(server)? as usize).saturating_sub(before);
    // A limit and one message for each.
    let most = SLOW * (LIMIT + MESSAGE) + SLACK;
    println!("{:?}: {alone:?}, {beside:?}, {} KiB of {}", server.mode(), above / 1024, most / 1024);
    assert!(beside <= FLOOR.max(alone * 2), "{beside:?} instead of {alone:?}");
    assert!(above <= most, "{above} bytes are more than {most}");
    Ok(())
}
