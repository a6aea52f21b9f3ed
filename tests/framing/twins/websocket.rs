//! The twin of the framer of WebSocket.

use super::{broken, Cut, Memory};
use crate::drive::Event;
use swoole::error::code;
use swoole::proto::settings::FramerSettings;

pub fn cut(settings: &FramerSettings, buffer: &[u8], memory: &mut Memory) -> Cut {
    if buffer.len() < 2 {
        return Cut::Wait;
    }
    let bit = |byte: usize, number: u32| buffer[byte] >> number & 1 == 1;
    let (is_final, is_masked, opcode) = (bit(0, 7), bit(1, 7), buffer[0] % 16);
    let is_control = (8..=10).contains(&opcode);
    let short = u64::from(buffer[1] % 128);
    let is_wrong = is_control && (!is_final || short > 125)
        || opcode == 0 && memory.fragments.is_none()
        || (1..=2).contains(&opcode) && memory.fragments.is_some();
    if is_wrong {
        return broken(code::PACKAGE_MALFORMED_DATA);
    }
    let extended = [0, 2, 8][usize::from(short >= 126) + usize::from(short == 127)];
    if buffer.len() < 2 + extended {
        return Cut::Wait;
    }
    let length = match extended {
        0 => u128::from(short),
        _ => buffer[2..2 + extended].iter().fold(0, |sum, byte| sum * 256 + u128::from(*byte)),
    };
    if length >= 1 << 63 {
        return broken(code::PACKAGE_MALFORMED_DATA);
    }
    let start = 2 + extended + if is_masked { 4 } else { 0 };
    let before = memory.fragments.as_ref().filter(|_| opcode == 0).map_or(0, |open| open.2.len());
    let limit = settings.max_length as u128;
    if start as u128 + length > limit || before as u128 + length > limit {
        return broken(code::PACKAGE_LENGTH_TOO_LARGE);
    }
    let end = start + length as usize;
    if buffer.len() < end {
        return Cut::Wait;
    }
    let mut payload = buffer[start..end].to_vec();
    if is_masked {
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= buffer[start - 4 + index % 4];
        }
    }
    let set = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = set(is_final, 1)
        + set(bit(0, 6), 4)
        + set(bit(0, 5), 8)
        + set(bit(0, 4), 16)
        + set(is_masked, 32);
    match opcode {
        0..=2 => data(memory, (opcode, flags, payload), is_final, end),
        8 => {
            let mut echo = vec![0x88, payload.len() as u8];
            echo.extend_from_slice(&payload);
            let unit = Event::Message { bytes: payload, opcode, flags };
            Cut::Over(vec![Event::Answer(echo), unit, Event::End])
        }
        9 | 10 => Cut::Found(vec![Event::Message { bytes: payload, opcode, flags }], end),
        _ => Cut::Found(vec![], end),
    }
}

fn data(memory: &mut Memory, frame: (u8, u8, Vec<u8>), is_final: bool, end: usize) -> Cut {
    let mut open = match memory.fragments.take() {
        Some((opcode, flags, bytes)) => (opcode, flags, [bytes, frame.2].concat()),
        None => frame,
    };
    if !is_final {
        memory.fragments = Some(open);
        return Cut::Found(vec![], end);
    }
    open.1 |= 1;
    Cut::Found(vec![Event::Message { bytes: open.2, opcode: open.0, flags: open.1 }], end)
}
