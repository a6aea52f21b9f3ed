//! A client with TLS. Every step has a deadline.

use crate::common::prelude::*;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The path of one of the files of these tests.
pub fn path_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls/files");
    folder.join(name).to_string_lossy().into_owned()
}

pub fn certificate(name: &str) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(path_of(&format!("{name}.crt")))?)
}

/// The beginning of a client that trusts the authority of these tests.
fn trusting(
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca")?)?;
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots))
}

/// What a client is made of.
#[derive(Clone)]
pub struct Wishes(pub Arc<ClientConfig>);

impl Wishes {
    pub fn usual() -> Result<Self> {
        Self::new(rustls::DEFAULT_VERSIONS, None)
    }

    /// With a certificate of its own.
    pub fn with(name: &str) -> Result<Self> {
        Self::new(rustls::DEFAULT_VERSIONS, Some(name))
    }

    pub fn new(versions: &[&'static SupportedProtocolVersion], own: Option<&str>) -> Result<Self> {
        let Some(name) = own else {
            return Ok(Self(Arc::new(trusting(versions)?.with_no_client_auth())));
        };
        let key = PrivateKeyDer::from_pem_file(path_of(&format!("{name}.key")))?;
        let own = vec![certificate(name)?];
        Ok(Self(Arc::new(trusting(versions)?.with_client_auth_cert(own, key)?)))
    }

    /// With a certificate that is in no file, and at which nobody looks here.
    pub fn showing(own: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<Self> {
        let key = ring::default_provider().key_provider.load_private_key(key)?;
        let own = SingleCertAndKey::from(CertifiedKey::new(vec![own], key));
        let builder = trusting(rustls::DEFAULT_VERSIONS)?;
        Ok(Self(Arc::new(builder.with_client_cert_resolver(Arc::new(own)))))
    }

    /// A connection whose handshake has not begun, to whom the client believes to be `name`.
    pub fn on<S: Read + Write>(&self, stream: S, name: &str) -> Result<Tls<S>> {
        let name = name.to_owned().try_into()?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        Ok(Tls(StreamOwned::new(connection, stream)))
    }

    /// A connection whose handshake is finished.
    pub fn connect(&self, server: &Running) -> Result<Tls> {
        let mut client = self.on(server.connect()?.stream, "localhost")?;
        client.shake()?;
        Ok(client)
    }
}

/// The first bytes that a client sends.
pub fn hello() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Wishes::usual()?.on(io::empty(), "localhost")?.0.conn.write_tls(&mut bytes)?;
    Ok(bytes)
}

pub struct Tls<S: Read + Write = TcpStream>(pub StreamOwned<ClientConnection, S>);

impl<S: Read + Write> Tls<S> {
    pub fn shake(&mut self) -> Result<()> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock)?;
        }
        Ok(())
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub fn receive(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes up to an end that is told; one that is not is an error.
    pub fn receive_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub fn echo(&mut self, bytes: &[u8]) -> Result<()> {
        self.send(bytes)?;
        match self.receive(bytes.len())? == bytes {
            true => Ok(()),
            false => Err(format!("{} bytes came back changed", bytes.len()).into()),
        }
    }

    /// Gives an order and returns the line that answers it.
    pub fn ask(&mut self, order: &str) -> Result<String> {
        self.send(format!("!{order}").as_bytes())?;
        let mut line = Vec::new();
        loop {
            match self.receive(1)?[0] {
                b'\n' => return Ok(String::from_utf8(line)?),
                byte => line.push(byte),
            }
        }
    }

    /// Gives an order until its answer is as expected.
    pub fn ask_until(&mut self, order: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let end = std::time::Instant::now() + STEP;
        loop {
            let line = self.ask(order)?;
            if is_it(&line) {
                return Ok(line);
            }
            if std::time::Instant::now() > end {
                return Err(format!("{order} is still answered with {line}").into());
            }
        }
    }

    /// The worker and the session of this connection.
    pub fn who(&mut self) -> Result<(i32, i64)> {
        let line = self.ask("who")?;
        let words: Vec<&str> = line.split(' ').collect();
        Ok((words[0].parse()?, words[2].parse()?))
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()
    }

    /// What the server has shown.
    pub fn shown(&self) -> Option<CertificateDer<'static>> {
        Some(self.0.conn.peer_certificates()?.first()?.clone().into_owned())
    }
}
