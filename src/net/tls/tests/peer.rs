//! Both ends of a connection: a [`TlsStream`] that is driven here, and a client in a thread.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::certificates::Pair;
use super::PATIENCE;
use crate::error::Result;
use crate::net::stream::Moved;
use crate::net::tls::{Handshake, Terms, TlsStream};

pub(super) type Client = StreamOwned<ClientConnection, TcpStream>;

/// Two ends of a connection: that of a client, which blocks, and that of a server.
pub(super) fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

/// What a client is made of.
#[derive(Clone)]
pub(super) struct Wishes {
    pub(super) name: &'static str,
    pub(super) config: Arc<ClientConfig>,
}

impl Wishes {
    pub(super) fn trusting(certificate: &CertificateDer<'static>) -> Self {
        Self::with(certificate, None, |_| {})
    }

    pub(super) fn with(
        certificate: &CertificateDer<'static>,
        own: Option<&Pair>,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        Self::with_provider(ring::default_provider(), certificate, own, change)
    }

    pub(super) fn with_provider(
        provider: rustls::crypto::CryptoProvider,
        certificate: &CertificateDer<'static>,
        own: Option<&Pair>,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some(pair) => {
                let (chain, key) = pair.client_parts();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        change(&mut config);
        Self { name: "localhost", config: Arc::new(config) }
    }

    /// A client that speaks one version only.
    pub(super) fn of_version(
        certificate: &CertificateDer<'static>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { name: "localhost", config: Arc::new(config) }
    }

    pub(super) fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(super) fn client(&self, socket: TcpStream) -> Client {
        let name = self.name.try_into().unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name).unwrap(), socket)
    }
}

/// The side that is driven by a test.
pub(super) struct Server {
    pub(super) stream: Box<TlsStream>,
    /// The same socket, to wait for it.
    watched: TcpStream,
}

impl Server {
    pub(super) fn new(socket: TcpStream, terms: &Terms) -> Self {
        let watched = socket.try_clone().unwrap();
        Self { stream: Box::new(TlsStream::new(socket.into(), terms).unwrap()), watched }
    }

    /// Waits until the socket can be read or written.
    fn wait(&self, flags: PollFlags) {
        let mut set = [PollFd::new(self.watched.as_fd(), flags)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut set, patience), Ok(1), "the peer does nothing");
    }

    pub(super) fn handshake(&mut self) -> Result<()> {
        loop {
            match self.stream.handshake() {
                Handshake::Done => return Ok(()),
                Handshake::Failed(error) => return Err(error),
                Handshake::NeedsRead => self.wait(PollFlags::POLLIN),
                Handshake::NeedsWrite => self.wait(PollFlags::POLLIN | PollFlags::POLLOUT),
            }
        }
    }

    /// One read that gives something.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Moved {
        loop {
            match self.stream.read(into) {
                Moved::WouldBlock => self.wait(PollFlags::POLLIN),
                moved => return moved,
            }
        }
    }

    /// So many bytes, in reads of at most `step`.
    pub(super) fn read_exactly(&mut self, count: usize, step: usize) -> Vec<u8> {
        let (mut all, mut chunk) = (Vec::new(), vec![0; step]);
        while all.len() < count {
            let room = step.min(count - all.len());
            match self.read(&mut chunk[..room]) {
                Moved::Bytes(count) => all.extend_from_slice(&chunk[..count]),
                moved => panic!("{moved:?} after {} bytes", all.len()),
            }
        }
        all
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Moved::Bytes(count) => bytes = &bytes[count..],
                Moved::WouldBlock => self.wait(PollFlags::POLLOUT),
                moved => panic!("{moved:?} with {} bytes left", bytes.len()),
            }
        }
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.stream.flush().unwrap() {
            self.wait(PollFlags::POLLOUT);
        }
    }

    /// Ends its side and reads until the peer has ended its own, so that nothing is reset.
    pub(super) fn finish(mut self) {
        self.stream.end_writing();
        self.flush();
        while let Moved::Bytes(_) = self.read(&mut [0; 1024]) {}
    }
}

/// Runs `client` in a thread, with its end of a connection.
pub(super) fn beside<T: Send + 'static>(
    socket: TcpStream,
    wishes: &Wishes,
    client: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    let wishes = wishes.clone();
    thread::spawn(move || client(&mut wishes.client(socket)))
}

/// A handshake and one byte each way: what the server made of it, and the client.
pub(super) fn greet<T: Send + 'static>(
    terms: &Terms,
    wishes: &Wishes,
    look: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> (Result<Server>, io::Result<T>) {
    let (near, far) = sockets();
    let client = beside(near, wishes, |client| {
        client.write_all(b"?")?;
        client.read_exact(&mut [0])?;
        let seen = look(client);
        client.conn.send_close_notify();
        client.flush()?;
        Ok(seen)
    });
    let mut server = Server::new(far, terms);
    let result = server.handshake();
    let result = result.map(|()| {
        assert_eq!(server.read_exactly(1, 1), b"?");
        server.write_all(b"!");
        server
    });
    (result, client.join().unwrap())
}

/// As [`greet`], for those who get along: what the client saw.
pub(super) fn met<T: Send + 'static>(
    terms: &Terms,
    wishes: &Wishes,
    look: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> T {
    let (server, client) = greet(terms, wishes, look);
    server.unwrap().finish();
    client.unwrap()
}

/// As [`greet`], for those who do not: why.
pub(super) fn refused(terms: &Terms, wishes: &Wishes) -> crate::error::Error {
    let (server, client) = greet(terms, wishes, |_| ());
    assert!(client.is_err(), "the client sees nothing of it");
    server.map(|_| ()).unwrap_err()
}
