//! Keys that may be used for so many records only: new ones follow, or the connection ends.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::crypto::{ring, CipherSuiteCommon, CryptoProvider};
use rustls::{ServerConfig, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use super::certificates::Pair;
use super::peer::{beside, sockets, Client, Server, Wishes};
use crate::net::stream::Moved;
use crate::net::tls::Terms;

/// The finished message takes one of them.
const LIMIT: u64 = 20;
const RECORD: usize = 16 * 1024;

fn limited(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    let CipherSuiteCommon { suite, hash_provider, .. } = *common;
    CipherSuiteCommon { suite, hash_provider, confidentiality_limit: LIMIT }
}

/// The same suite with keys that are used up soon.
fn of_short_life(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let common = limited(&suite.common);
            let Tls12CipherSuite { prf_provider, kx, sign, aead_alg, .. } = **suite;
            let suite = Tls12CipherSuite { common, prf_provider, kx, sign, aead_alg };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let common = limited(&suite.common);
            let Tls13CipherSuite { hkdf_provider, aead_alg, .. } = **suite;
            let suite = Tls13CipherSuite { common, hkdf_provider, aead_alg, quic: None };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
    }
}

/// A connection of one version on such terms: the server, and what becomes of the client.
fn connection<T: Send + 'static>(
    version: &'static rustls::SupportedProtocolVersion,
    client: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> (Server, std::thread::JoinHandle<T>) {
    let own = Pair::self_signed("localhost");
    let mut provider: CryptoProvider = ring::default_provider();
    provider.cipher_suites = provider.cipher_suites.iter().map(of_short_life).collect();
    let (chain, key) = own.client_parts();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let terms = Terms { config: Arc::new(config), warnings: Vec::new() };
    let (near, far) = sockets();
    let client = beside(near, &Wishes::trusting(&own.der), client);
    let mut server = Server::new(far, &terms);
    server.handshake().unwrap();
    (server, client)
}

#[test]
fn in_tls_1_3_new_keys_follow_those_that_are_used_up() {
    const ROUNDS: usize = 100;
    const LARGE: usize = 100 * RECORD + 1;
    let (mut server, client) = connection(&rustls::version::TLS13, |client| {
        for _ in 0..ROUNDS {
            client.write_all(b"small").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all.len()
    });
    for _ in 0..ROUNDS {
        let message = server.read_exactly(5, 5);
        server.write_all(&message);
    }
    server.write_all(&vec![1; LARGE]);
    server.finish();
    assert_eq!(client.join().unwrap(), LARGE);
}

/// All that went before arrives, and what is cut off does not look like a whole.
#[test]
fn in_tls_1_2_the_connection_ends_behind_the_last_record() {
    for parts in [1, 3, 40] {
        let (mut server, client) = connection(&rustls::version::TLS12, |client| {
            let mut all = Vec::new();
            let error = client.read_to_end(&mut all).unwrap_err();
            (all.len(), error.kind())
        });
        let bytes = vec![2; parts * RECORD];
        let parts = bytes.chunks(RECORD).map(IoSlice::new).collect::<Vec<_>>();
        let end = (0..1000).find_map(|_| match server.stream.write_parts(&parts) {
            Moved::Bytes(_) | Moved::WouldBlock => {
                server.flush();
                None
            }
            broken => Some(broken),
        });
        assert_eq!(end, Some(Moved::Broken(libc::EPROTO)));
        assert_eq!(server.stream.write(b"more"), Moved::Broken(libc::EPROTO));
        server.finish();
        let all = (LIMIT as usize - 1) * RECORD;
        assert_eq!(client.join().unwrap(), (all, ErrorKind::UnexpectedEof));
    }
}
