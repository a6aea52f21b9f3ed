//! A client of the server under test. Every step has a deadline.

use super::{process, Outcome, STEP};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long to wait for the end of a program before trying again to connect to it.
const RETRY: Duration = Duration::from_millis(10);

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), STEP)?;
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(STEP))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects to a program that does not say when it listens, as soon as it does. Gives up when
    /// the program with this pid has ended.
    pub fn connect_when_open(port: u16, pid: i32) -> io::Result<Self> {
        let end = Instant::now() + STEP;
        loop {
            match Self::connect(port) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    if process::wait_gone(pid, RETRY)? || Instant::now() > end {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// The port of this end, which the server sees as `remote_port`.
    pub fn local_port(&self) -> io::Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Exactly so many bytes.
    pub fn receive(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes up to the end that the server makes.
    pub fn receive_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends bytes and expects the same back. Both go on at once, so that no size blocks.
    pub fn echo(&mut self, bytes: &[u8]) -> Outcome {
        let mut writer = self.stream.try_clone()?;
        let back = std::thread::scope(|scope| {
            let sending = scope.spawn(move || writer.write_all(bytes));
            let back = self.receive(bytes.len());
            let sent = sending.join().map_err(|_| io::Error::other("the sender panicked"))?;
            sent.and(back)
        })?;
        match first_difference(bytes, &back) {
            None => Ok(()),
            Some(at) => Err(format!("byte {at} of {} came back changed", bytes.len()).into()),
        }
    }
}

fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    let differs = left.iter().zip(right).position(|(a, b)| a != b);
    differs.or_else(|| (left.len() != right.len()).then(|| left.len().min(right.len())))
}
