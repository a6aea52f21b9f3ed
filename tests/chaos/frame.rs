//! A request as it travels: who asks, how it shall be served, its number, a sum over all of it. The
//! answer is the same frame with what has come of it.
//!
//! ```text
//! length (4, of all behind it)  way (1)  verdict (1)  client (2)  number (8)  sum (8)  load
//! ```

/// All in front of the load.
pub const HEAD: usize = 24;
/// A frame that takes the way through a pipe: each has the same length.
pub const SMALL: usize = 64;
/// A few are large, and some of these take more than a lane has at once.
const LARGE: usize = 20_000;
const HUGE: usize = 400_000;
const LARGE_EVERY: u64 = 256;
const HUGE_EVERY: u64 = 512;
const SPREAD: u64 = 200;
const WORD: usize = 8;
const PLACE_OF_VERDICT: usize = 5;

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the worker itself.
    Worker,
    /// By a task worker; the worker answers with its result.
    Task,
    /// By a user process, which answers itself.
    User,
    /// A question for the counts; the load is the answer.
    Ask,
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a request.
    Open,
    Answered,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub way: Way,
    pub verdict: Verdict,
    pub client: u16,
    pub number: u64,
}

/// The frame of a request. Its load follows from its number.
pub fn request(way: Way, client: u16, number: u64) -> Vec<u8> {
    let mixed = (number << 16 | u64::from(client)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let load = match way {
        Way::User => SMALL - HEAD,
        _ if mixed % HUGE_EVERY == 1 => HUGE,
        _ if mixed % LARGE_EVERY == 0 => LARGE,
        _ => (mixed % SPREAD) as usize,
    };
    let mut load = vec![0; load];
    for (word, index) in load.chunks_mut(WORD).zip(1..) {
        let bytes = mixed.wrapping_mul(index).to_be_bytes();
        word.copy_from_slice(&bytes[..word.len()]);
    }
    sealed(Stamp { way, verdict: Verdict::Open, client, number }, &load)
}

/// A frame with any load.
pub fn sealed(stamp: Stamp, load: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD - 4 + load.len()).expect("a load of a test is small");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend([stamp.way as u8, stamp.verdict as u8]);
    frame.extend(stamp.client.to_be_bytes());
    frame.extend(stamp.number.to_be_bytes());
    let sum = sum_of(&frame, load);
    frame.extend(sum.to_be_bytes());
    frame.extend(load);
    frame
}

/// Writes what has come of a request into its frame.
pub fn judge(frame: &mut [u8], verdict: Verdict) {
    frame[PLACE_OF_VERDICT] = verdict as u8;
}

/// The length of the frame that these bytes begin with, as soon as it is known.
pub fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(..4)?.try_into().ok().map(u32::from_be_bytes)?;
    Some(length as usize + 4)
}

/// Whose frame this is, and its number, if it is one. Looks at nothing else, so it takes no time.
pub fn name_of(frame: &[u8]) -> Option<(u16, u64)> {
    let client = u16::from_be_bytes(frame.get(6..8)?.try_into().ok()?);
    let number = u64::from_be_bytes(frame.get(8..16)?.try_into().ok()?);
    Some((client, number))
}

/// The stamp of a whole frame; `None` if anything in it is not what it was.
pub fn open(frame: &[u8]) -> Option<Stamp> {
    if length_of(frame)? != frame.len() || frame.len() < HEAD {
        return None;
    }
    let way = [Way::Worker, Way::Task, Way::User, Way::Ask].into_iter().nth(frame[4].into())?;
    let verdicts = [Verdict::Open, Verdict::Answered, Verdict::Failed];
    let verdict = verdicts.into_iter().nth(frame[PLACE_OF_VERDICT].into())?;
    let (client, number) = name_of(frame)?;
    let sum = u64::from_be_bytes(frame[16..HEAD].try_into().ok()?);
    let is_whole = sum == sum_of(&frame[..16], &frame[HEAD..]);
    is_whole.then_some(Stamp { way, verdict, client, number })
}

/// The verdict is no part of it, since it changes on the way.
fn sum_of(head: &[u8], load: &[u8]) -> u64 {
    let head = head[..PLACE_OF_VERDICT].iter().chain(&head[PLACE_OF_VERDICT + 1..]);
    let sum = head.fold(0xcbf2_9ce4_8422_2325, |sum, byte| mix(sum, u64::from(*byte)));
    // By words: a test that is not optimised has better things to do.
    let words = load.chunks_exact(WORD);
    let rest = words.remainder().iter().fold(0, |rest, byte| rest << 8 | u64::from(*byte));
    words.fold(mix(sum, rest), |sum, word| {
        mix(sum, u64::from_be_bytes(word.try_into().unwrap_or_default()))
    })
}

fn mix(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
}
