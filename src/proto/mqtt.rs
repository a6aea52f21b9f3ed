//! MQTT packets: a byte of type and flags, the remaining length in 1 to 4 bytes, the rest.

use std::sync::Arc;

use crate::error::code;
use crate::proto::framer::{Framer, Verdict};
use crate::proto::settings::FramerSettings;

/// How many bytes a length has at most.
const LENGTH_BYTES: usize = 4;

/// In a byte of the length: another one follows.
const MORE: u8 = 0x80;

/// The framer of MQTT.
#[derive(Debug)]
pub struct Mqtt {
    settings: Arc<FramerSettings>,
}

impl Mqtt {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings }
    }
}

impl Framer for Mqtt {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        let mut rest = 0;
        for index in 0..LENGTH_BYTES {
            let Some(byte) = unread.get(1 + index).copied() else {
                return Verdict::More { until: 2 + index };
            };
            rest |= usize::from(byte & !MORE) << (7 * index);
            if byte & MORE == 0 {
                let length = 2 + index + rest;
                let limit = self.settings.max_length;
                return match length {
                    _ if length > limit => Verdict::too_large(limit, 1, length as u64),
                    _ if length > unread.len() => Verdict::More { until: length },
                    _ => Verdict::message(length),
                };
            }
        }
        let what = "the remaining length has more than four bytes";
        Verdict::broken(code::PACKAGE_MALFORMED_DATA, LENGTH_BYTES, what)
    }
}
