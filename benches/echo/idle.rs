//! What an idle connection costs: the server's memory before and after many of them have come,
//! echoed once and been left alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use nix::sys::resource::{getrlimit, setrlimit, Resource};

use crate::common::launch::Running;
use crate::common::process;
use crate::load::{pattern, Load, Until, SILENCE_LIMIT};

/// A load before the first look, so that what a server makes once, such as pools and rings, is not
/// divided among the connections. Its connections stay: what they own is not used again either.
const FIRST_COUNT: usize = 64;
const FIRST_IN_FLIGHT: usize = 16;
const FIRST_TIME: Duration = Duration::from_millis(300);
/// Descriptors that the bench and a server use for other things.
const OTHER_DESCRIPTORS: u64 = 200;

/// Raises the limit of open files as far as it may be raised; says how many connections it allows.
pub fn connections_allowed() -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX))
}

/// Bytes of user memory per idle connection, all processes of the server together.
pub fn measure(server: &Running, size: usize, connections: usize) -> io::Result<f64> {
    let message = pattern(size);
    let mut first = Load::open(server.address(), (size, FIRST_COUNT, FIRST_IN_FLIGHT))?;
    first.run(Until::Elapsed(FIRST_TIME), true)?;
    let before = process::memory_bytes(&server.pids()?)?;
    let mut idle = open(server.address(), &message, connections)?;
    let after = process::memory_bytes(&server.pids()?)?;
    // They were held, all of them.
    for stream in &mut idle {
        echo(stream, &message)?;
    }
    Ok((after as f64 - before as f64) / idle.len() as f64)
}

fn open(address: SocketAddrV4, message: &[u8], count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(SILENCE_LIMIT))?;
            echo(&mut stream, message).map(|()| stream)
        })
        .collect()
}

fn echo(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut reply = vec![0; message.len()];
    stream.write_all(message)?;
    stream.read_exact(&mut reply)?;
    if reply == message {
        Ok(())
    } else {
        Err(io::Error::other("the reply is not what was sent"))
    }
}
