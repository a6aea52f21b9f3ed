//! Time: the clock that never jumps, the clock on the wall, and the wall clock in words.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::sync::Once;
use std::time::Duration;

const NS_PER_S: u64 = 1_000_000_000;

/// The longest text a date may expand to, in bytes.
pub const MAX_DATE_LEN: usize = 127;

/// Nanoseconds since some moment before the start of the system, the same in every process.
pub fn monotonic_ns() -> u64 {
    ns_of(&read(libc::CLOCK_MONOTONIC))
}

/// Nanoseconds since 1970, as far as the system knows.
pub fn wall_ns() -> u64 {
    ns_of(&read(libc::CLOCK_REALTIME))
}

/// The moment of the monotonic clock that lies `delay` ahead, `None` if it is beyond all time.
pub(super) fn monotonic_after(delay: Duration) -> Option<libc::timespec> {
    let end_ns = u64::try_from(delay.as_nanos()).ok()?.checked_add(monotonic_ns())?;
    Some(libc::timespec {
        tv_sec: libc::time_t::try_from(end_ns / NS_PER_S).ok()?,
        tv_nsec: libc::c_long::try_from(end_ns % NS_PER_S).ok()?,
    })
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &mut now) };
    debug_assert_eq!(result, 0, "a clock that every Linux has");
    now
}

/// A moment before 1970 counts as 1970.
fn ns_of(time: &libc::timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// A `strftime` format whose expansion is at most [`MAX_DATE_LEN`] bytes.
#[derive(Clone, Debug)]
pub struct DateFormat {
    /// A blank stands in front, so that an empty expansion differs from one that does not fit.
    blank_and_format: Cow<'static, CStr>,
}

impl DateFormat {
    /// `%F %T`, as in `2024-02-29 23:59:59`.
    pub const DATE_AND_TIME: Self = Self::fixed(b" %F %T\0");
    /// `%Y%m%d%H%M`, the year to the minute.
    pub const MINUTE_STAMP: Self = Self::fixed(b" %Y%m%d%H%M\0");

    const fn fixed(blank_and_format: &'static [u8]) -> Self {
        match CStr::from_bytes_with_nul(blank_and_format) {
            Ok(format) => Self { blank_and_format: Cow::Borrowed(format) },
            Err(_) => panic!("a format without its end"),
        }
    }

    /// `None` if the format holds a NUL byte or expands to too much.
    pub fn new(format: &str) -> Option<Self> {
        let format = CString::new(format!(" {format}")).ok()?;
        let format = Self { blank_and_format: Cow::Owned(format) };
        format.expand(wall_ns() / NS_PER_S).is_some().then_some(format)
    }

    /// The local date of a moment, in seconds since 1970. `None` if it has become too long, as
    /// names of months may.
    pub fn expand(&self, wall_s: u64) -> Option<DateText> {
        let local = local_time(wall_s)?;
        let mut bytes = [0; MAX_DATE_LEN + 2];
        // SAFETY: the buffer has the length that is told, format and time are valid.
        let len = unsafe {
            libc::strftime(
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                self.blank_and_format.as_ptr(),
                &local,
            )
        };
        (len > 0).then_some(DateText { bytes, len })
    }
}

/// A date in words.
#[derive(Clone, Debug)]
pub struct DateText {
    bytes: [u8; MAX_DATE_LEN + 2],
    /// With the blank in front.
    len: usize,
}

impl DateText {
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(1..self.len).unwrap_or_default()
    }
}

/// `None` for years that do not fit.
fn local_time(wall_s: u64) -> Option<libc::tm> {
    extern "C" {
        fn tzset();
    }
    static ZONE_READ: Once = Once::new();
    // SAFETY: reads the zone once; localtime_r need not do so itself.
    ZONE_READ.call_once(|| unsafe { tzset() });
    let seconds = libc::time_t::try_from(wall_s).ok()?;
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both places outlive the call.
    let filled = unsafe { libc::localtime_r(&seconds, local.as_mut_ptr()) };
    // SAFETY: zeroed is a valid tm, and the call has filled it.
    (!filled.is_null()).then(|| unsafe { local.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::{passes_in_child, set_zone};

    #[test]
    fn the_monotonic_clock_never_goes_back_and_agrees_with_the_standard_library() {
        let start = std::time::Instant::now();
        let before = monotonic_ns();
        let after = monotonic_ns();
        assert!(before <= after);
        assert!(u128::from(after - before) <= start.elapsed().as_nanos());
    }

    #[test]
    fn the_wall_clock_agrees_with_the_standard_library() {
        let since = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let (before, now, after) = (since(), u128::from(wall_ns()), since());
        assert!(before <= now && now <= after);
    }

    #[test]
    fn a_date_is_written_in_local_time() {
        assert!(passes_in_child(|| {
            set_zone("XYZ-2");
            let format = DateFormat::new("%d.%m.%Y %H:%M:%S %%").unwrap();
            let date = format.expand(951_865_199).unwrap();
            assert_eq!(date.as_bytes(), b"01.03.2000 00:59:59 %");
            let date = DateFormat::DATE_AND_TIME.expand(951_865_199).unwrap();
            assert_eq!(date.as_bytes(), b"2000-03-01 00:59:59");
        }));
    }

    // The C library locks the zone: a thread that does so must not be beside one that forks.
    #[test]
    fn formats_may_be_empty_but_not_too_long() {
        assert!(passes_in_child(|| {
            let empty = DateFormat::new("").unwrap();
            assert_eq!(empty.expand(0).unwrap().as_bytes(), b"");
            assert!(DateFormat::new(&"x".repeat(MAX_DATE_LEN)).is_some());
            assert!(DateFormat::new(&"x".repeat(MAX_DATE_LEN + 1)).is_none());
            assert!(DateFormat::new(&"%F".repeat(13)).is_none());
            assert!(DateFormat::new("a\0b").is_none());
        }));
    }

    #[test]
    fn a_year_that_does_not_fit_has_no_date() {
        assert!(passes_in_child(|| {
            assert!(DateFormat::DATE_AND_TIME.expand(u64::MAX).is_none());
            assert!(DateFormat::DATE_AND_TIME.expand(i64::MAX as u64).is_none());
        }));
    }
}
