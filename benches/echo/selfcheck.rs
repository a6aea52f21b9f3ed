//! What `cargo test --benches` runs: is the arithmetic right, does every server that can be built
//! echo, and does the load notice a server that does not?

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::thread;
use std::time::Duration;

use crate::churn::Churn;
use crate::common::check_median;
use crate::common::cores::{self, Cores};
use crate::common::launch::Running;
use crate::histogram;
use crate::load::{Load, Until};
use crate::servers;

/// Larger than a socket takes at once, so that servers meet partial writes.
const LARGE: (usize, usize, usize) = (1024 * 1024, 3, 4);
const SMALL: (usize, usize, usize) = (64, 10, 16);

pub fn run() -> io::Result<()> {
    histogram::check().map_err(io::Error::other)?;
    check_median()?;
    check_that_a_wrong_byte_is_noticed()?;
    let cores = Cores::choose()?;
    cores::move_to(cores.load)?;
    for (kind, command) in servers::build_all() {
        match command {
            Ok(command) => {
                check_echo(&Running::start(&command, cores)?)
                    .map_err(|error| io::Error::other(format!("{}: {error}", kind.title())))?;
                println!("{} echoes", kind.title());
            }
            Err(reason) => println!("{} is not checked: {reason}", kind.title()),
        }
    }
    Ok(())
}

fn check_echo(server: &Running) -> io::Result<()> {
    for shape in [SMALL, LARGE] {
        let run = Load::open(server.address(), shape)?.run(Until::Sent(shape.2 * 2), true)?;
        let expected = shape.1 * shape.2 * 2;
        if run.latencies.count() != expected as u64 {
            return Err(io::Error::other(format!("not {expected} requests were counted")));
        }
    }
    Churn::new(server.address(), SMALL.0, SMALL.1).run(Duration::from_millis(20)).map(drop)
}

fn check_that_a_wrong_byte_is_noticed() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let SocketAddr::V4(address) = listener.local_addr()? else {
        return Err(io::Error::other("not an IPv4 address"));
    };
    let liar = thread::spawn(move || echo_wrongly(&listener));
    let outcome = ask_once(address);
    match liar.join() {
        Ok(Ok(())) if outcome.is_err() => Ok(()),
        Ok(Err(error)) => Err(error),
        _ => Err(io::Error::other("a wrong byte in a reply was not noticed")),
    }
}

fn ask_once(address: SocketAddrV4) -> io::Result<()> {
    Load::open(address, (64, 1, 1))?.run(Until::Sent(1), true).map(drop)
}

fn echo_wrongly(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut message = [0; 64];
    stream.read_exact(&mut message)?;
    message[63] ^= 1;
    stream.write_all(&message)
}
