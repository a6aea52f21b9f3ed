//! Feeds framers with spoiled streams and compares them with their twins, for a while.
//!
//! `SWOOLE_FUZZ_SECONDS` is the time for all framers (30), `SWOOLE_FUZZ_SEED` where the numbers
//! begin. A failure says which case it was; `SWOOLE_FUZZ_CASE=name:number` runs that one alone. A
//! stream that has found something belongs into `tests/corpus/<framer>/`, where it is kept: each
//! file is run as it is, cut everywhere, and is what other streams are made of.

// Some of it only the other tests use.
#[allow(dead_code)]
#[path = "../framing/drive.rs"]
mod drive;
#[path = "../framing/make.rs"]
mod make;
#[path = "../framing/twins/mod.rs"]
mod twins;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Failed, Trial};
use make::{Entropy, Setup};

const SECONDS: u64 = 30;
/// How much entropy a case has.
const ENTROPY_BYTES: usize = 800;
/// Mutations may double a stream; what is longer shows nothing new.
const STREAM_BYTES: usize = 40_000;

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The files of a framer, sorted, so that a case is the same everywhere.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry is read").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder:?} is empty");
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus is read")).collect()
}

fn compare(setup: &Setup, pieces: &[&[u8]]) -> Result<(), String> {
    let framer = catch_unwind(AssertUnwindSafe(|| drive::run(&setup.settings, pieces)));
    let framer = framer.map_err(|_| format!("a panic, see above; pieces: {pieces:?}"))?;
    let twin = twins::run(&setup.settings, setup.letter, pieces);
    if framer == twin {
        return Ok(());
    }
    Err(format!("{:?}\nframer: {framer:?}\ntwin:   {twin:?}\npieces: {pieces:?}", setup.settings))
}

/// One case: all of it follows from its number and the corpus.
fn run_case(name: &'static str, corpus: &[Vec<u8>], number: u64) -> Result<(), String> {
    let mut numbers = Numbers(number);
    let bytes = numbers.bytes(ENTROPY_BYTES);
    let (decisions, frames) = bytes.split_at(ENTROPY_BYTES / 2);
    let entropy = &mut Entropy(decisions);
    let setup = make::setup(name, entropy);
    let mut stream = match entropy.below(2) {
        0 => make::stream(&setup, &mut Entropy(frames)),
        _ => {
            let (first, second) = (entropy.below(corpus.len()), entropy.below(corpus.len()));
            match entropy.below(3) {
                0 => [&corpus[first][..], &corpus[second]].concat(),
                _ => corpus[first].clone(),
            }
        }
    };
    make::mutate(&mut stream, entropy);
    stream.truncate(STREAM_BYTES);
    let cuts = make::cuts(stream.len(), entropy);
    // Byte by byte the twin is quadratic.
    let is_long = stream.len() > 1000 && cuts.len() > 100;
    let cuts = if is_long { &cuts[..8] } else { &cuts[..] };
    compare(&setup, &drive::cut(&stream, cuts))
}

fn run_corpus(name: &'static str, corpus: &[Vec<u8>]) -> Result<(), Failed> {
    for (index, stream) in corpus.iter().enumerate() {
        for how in 0..10 {
            let setup = make::setup(name, &mut Entropy(&Numbers(how).bytes(16)));
            let step = stream.len() / 100 + 1;
            for at in (0..=stream.len()).step_by(step) {
                compare(&setup, &[&stream[..at], &stream[at..]])
                    .map_err(|what| format!("{name}, file {index}, settings {how}: {what}"))?;
            }
        }
    }
    Ok(())
}

fn fuzz(name: &'static str, share: Duration, seed: u64) -> Result<(), Failed> {
    let corpus = corpus(name);
    run_corpus(name, &corpus)?;
    let begun = Instant::now();
    let mut numbers = Numbers(seed);
    let mut count = 0;
    while count < 100 || begun.elapsed() < share {
        let number = numbers.next();
        run_case(name, &corpus, number).map_err(|what| {
            format!("SWOOLE_FUZZ_CASE={name}:{number} cargo test --test fuzz\n{what}")
        })?;
        count += 1;
    }
    println!("{name}: {count} streams");
    Ok(())
}

/// One case that was named.
fn only(case: &str) -> Result<(), Failed> {
    let (name, number) = case.split_once(':').ok_or("SWOOLE_FUZZ_CASE is name:number")?;
    let known = make::NAMES.iter().find(|known| **known == name);
    let name = known.ok_or("SWOOLE_FUZZ_CASE names no framer")?;
    let number = number.parse().map_err(|_| "SWOOLE_FUZZ_CASE has no number")?;
    Ok(run_case(name, &corpus(name), number)?)
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Each framer has its share of the time, one after the other.
    arguments.test_threads = Some(1);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = number_from("SWOOLE_FUZZ_SEED").unwrap_or(clock);
    let seconds = number_from("SWOOLE_FUZZ_SECONDS").unwrap_or(SECONDS);
    let share = Duration::from_secs(seconds) / make::NAMES.len() as u32;
    let trials = match std::env::var("SWOOLE_FUZZ_CASE") {
        Ok(case) => vec![Trial::test("the_case", move || only(&case))],
        Err(_) => make::NAMES
            .iter()
            .map(|name| {
                let title = format!("{name}_makes_of_spoiled_streams_what_its_twin_makes");
                Trial::test(title, move || fuzz(name, share, seed))
            })
            .collect(),
    };
    libtest_mimic::run(&arguments, trials).exit();
}
