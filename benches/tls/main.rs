//! One command, one table: an echo over TLS 1.3 beside an echo server in C on OpenSSL, in the same
//! run, and what an idle connection costs.
//!
//! `cargo bench --bench tls`. The servers run at the same time on one core and are asked in turn by
//! clients on another one; what is compared is the CPU time of the server for one request, and the
//! table shows medians over the rounds. `SW_BENCH_ROUNDS` sets their number. Without OpenSSL to
//! build with there is nothing to compare with, and the bench says so. Without `--bench`, as `cargo
//! test` runs it, it checks its arithmetic and ends.

mod binaries;
#[path = "../echo/cores.rs"]
#[allow(dead_code)]
mod cores;
#[path = "../echo/launch.rs"]
#[allow(dead_code)]
mod launch;
#[path = "../echo/process.rs"]
#[allow(dead_code)]
mod process;

use std::env;
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

use crate::cores::Cores;
use crate::launch::Running;

const ROUNDS: usize = 9;
/// Sizes of a message, and how many requests make a round.
const CASES: [(usize, usize); 2] = [(64, 20_000), (64 * 1024, 1_500)];
/// Clients that are asked one after the other before the first is again.
const CLIENTS: usize = 16;
/// Connections whose memory is looked at.
const IDLE: usize = 500;
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// What the CPU time of a request should be at most, beside OpenSSL.
const TARGET: f64 = 1.1;

type Client = StreamOwned<ClientConnection, TcpStream>;

fn main() -> ExitCode {
    let outcome = match env::args().any(|argument| argument == "--bench") {
        true => measure(),
        false => check_self(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check_self() -> io::Result<()> {
    match median(&mut [3.0, 1.0, 2.0]) == 2.0 && median(&mut [4.0, 1.0]) == 4.0 {
        true => Ok(()),
        false => Err(io::Error::other("the median is wrong")),
    }
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
    let rounds = match env::var("SW_BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|_| io::Error::other("SW_BENCH_ROUNDS is no number"))?,
        Err(_) => ROUNDS,
    };
    let openssl = match binaries::compile_openssl() {
        Ok(program) => program,
        Err(error) => {
            println!("no OpenSSL to compare with (libssl-dev): {error}");
            return Ok(());
        }
    };
    let own = binaries::compile_own()?;
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
    show(&mut all);
    for asked in &all {
        let bytes = idle_bytes(asked, &config)?;
        println!("{:<8} {bytes:>8.0} bytes for an idle connection", asked.name);
    }
    Ok(())
}

fn show(all: &mut [Asked]) {
    for (case, (size, _)) in CASES.into_iter().enumerate() {
        let yardstick = all.first().map(|first| first.costs[case].clone()).unwrap_or_default();
        for asked in all.iter_mut() {
            let pairs = asked.costs[case].iter().zip(&yardstick);
            let mut ratios: Vec<f64> = pairs.map(|(own, other)| own / other).collect();
            let (cost, ratio) = (median(&mut asked.costs[case]), median(&mut ratios));
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
    for index in 0..requests {
        let count = asked.clients.len();
        echo(&mut asked.clients[index % count], &message)?;
    }
    Ok((process::cpu_ns(&pids)? - before) as f64 / requests as f64)
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
    let mut reply = vec![0; message.len()];
    client.write_all(message)?;
    client.flush()?;
    client.read_exact(&mut reply)?;
    match reply == message {
        true => Ok(()),
        false => Err(io::Error::other("the reply is not what was sent")),
    }
}

/// The upper one of two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
