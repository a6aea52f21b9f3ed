//! One command, one table: an echo over TLS 1.3 beside an echo server in C on OpenSSL, in the same
//! run, and what an idle connection costs.
//!
//! `cargo bench --bench tls`. The servers run at the same time on one core and are asked in turn by
//! clients on another one, each with one message under way; what is compared is the CPU time of the
//! server for one request, and the table shows medians over the rounds. `SW_BENCH_ROUNDS` sets
//! their number. Without OpenSSL to build with there is nothing to compare with, and the bench says
//! so. Without `--bench`, as `cargo test` runs it, it checks its arithmetic and ends.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::binaries::{compile, compile_with_library};
use crate::common::cores::Cores;
use crate::common::launch::Running;
use crate::common::{median, process};

const ROUNDS: usize = 9;
/// Sizes of a message, and how many requests make a round.
const CASES: [(usize, usize); 2] = [(64, 20_000), (64 * 1024, 1_500)];
/// Clients that ask at the same time.
const CLIENTS: usize = 16;
/// Connections whose memory is looked at.
const IDLE: usize = 500;
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// What the CPU time of a request should be at most, beside OpenSSL.
const TARGET: f64 = 1.1;

type Client = StreamOwned<ClientConnection, TcpStream>;

fn main() -> ExitCode {
    common::run(measure, common::check_median)
}

/// A file of the tests of TLS.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls/files").join(name)
}

/// One server that is measured, and those who ask it.
struct Asked {
    name: &'static str,
    server: Running,
    clients: Vec<Client>,
    /// Nanoseconds of a request, by case and round.
    costs: Vec<Vec<f64>>,
}

fn measure() -> io::Result<()> {
    let rounds = common::rounds(ROUNDS)?;
    let openssl = match compile("openssl_echo", &["-lssl".into(), "-lcrypto".into()]) {
        Ok(program) => program,
        Err(error) => {
            println!("no OpenSSL to compare with (libssl-dev): {error}");
            return Ok(());
        }
    };
    let own = compile_with_library("swoole_tls")?;
    let (certificate, key) = (file("server.crt"), file("server.key"));
    let mode = |name: &str| vec![own.clone(), name.into(), certificate.clone(), key.clone()];
    let commands = [
        ("openssl", vec![openssl, certificate.clone(), key.clone()]),
        ("base", mode("base")),
        ("process", mode("process")),
    ];
    let (cores, config) = (Cores::choose()?, config()?);
    let mut all = Vec::new();
    for (name, command) in commands {
        let server = Running::start(&command, cores)?;
        let open = || connect(server.address(), &config);
        let clients = std::iter::repeat_with(open).take(CLIENTS).collect::<io::Result<_>>()?;
        all.push(Asked { name, server, clients, costs: vec![Vec::new(); CASES.len()] });
    }
    for round in 0..=rounds {
        for (case, (size, requests)) in CASES.into_iter().enumerate() {
            // Whoever comes first in a round has it no better in the next one.
            for step in 0..all.len() {
                let index = (step + round) % all.len();
                let cost = cost(&mut all[index], size, requests)?;
                // The first round only warms up.
                if round > 0 {
                    all[index].costs[case].push(cost);
                }
            }
        }
    }
    println!("{rounds} rounds, TLS 1.3, {CLIENTS} connections, servers on core {}", cores.server);
    show(&all);
    for asked in &all {
        let bytes = idle_bytes(asked, &config)?;
        println!("{:<8} {bytes:>8.0} bytes for an idle connection", asked.name);
    }
    Ok(())
}

fn show(all: &[Asked]) {
    for (case, (size, _)) in CASES.into_iter().enumerate() {
        let yardstick = all.first().map(|first| first.costs[case].clone()).unwrap_or_default();
        for asked in all {
            let pairs = asked.costs[case].iter().zip(&yardstick);
            let ratios: Vec<f64> = pairs.map(|(own, other)| own / other).collect();
            let (cost, ratio) = (median(&asked.costs[case]), median(&ratios));
            let verdict = if ratio <= TARGET { "met" } else { "missed" };
            println!(
                "{size:>6} B  {:<8} {:>8.1} us CPU  {ratio:>5.2} x  target {TARGET} {verdict}",
                asked.name,
                cost / 1000.0
            );
        }
    }
}

/// Nanoseconds of CPU time that the server spends on one request.
fn cost(asked: &mut Asked, size: usize, requests: usize) -> io::Result<f64> {
    let message = vec![0x5a; size];
    let pids = asked.server.pids()?;
    let before = process::cpu_ns(&pids)?;
    for _ in 0..requests / CLIENTS {
        for client in &mut asked.clients {
            client.write_all(&message)?;
            client.flush()?;
        }
        for client in &mut asked.clients {
            take(client, &message)?;
        }
    }
    let count = requests / CLIENTS * CLIENTS;
    Ok((process::cpu_ns(&pids)? - before) as f64 / count as f64)
}

/// Bytes of memory of the server per idle connection.
fn idle_bytes(asked: &Asked, config: &Arc<ClientConfig>) -> io::Result<f64> {
    let before = process::memory_bytes(&asked.server.pids()?)?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut client = connect(asked.server.address(), config)?;
        echo(&mut client, &[1; 64])?;
        idle.push(client);
    }
    let after = process::memory_bytes(&asked.server.pids()?)?;
    Ok((after as f64 - before as f64) / idle.len() as f64)
}

fn config() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file("ca.crt")).map_err(io::Error::other)?;
    roots.add(authority).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn connect(address: SocketAddrV4, config: &Arc<ClientConfig>) -> io::Result<Client> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    stream.set_nodelay(true)?;
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(connection, stream);
    echo(&mut client, b"begin")?;
    Ok(client)
}

fn echo(client: &mut Client, message: &[u8]) -> io::Result<()> {
    client.write_all(message)?;
    client.flush()?;
    take(client, message)
}

fn take(client: &mut Client, message: &[u8]) -> io::Result<()> {
    let mut reply = vec![0; message.len()];
    client.read_exact(&mut reply)?;
    match reply == message {
        true => Ok(()),
        false => Err(io::Error::other("the reply is not what was sent")),
    }
}
