//! An address written out for C, without asking for memory.

use std::ffi::CStr;
use std::fmt::{self, Write};

use super::address::Address;

/// More than any address has, with its NUL.
const BYTES: usize = 128;

/// The host of an address as a text of C: an IP without brackets, or the bytes of a path.
#[derive(Clone, Copy)]
pub struct AddressText {
    bytes: [u8; BYTES],
    len: usize,
}

impl AddressText {
    /// Writes out the host of an address; a path is taken as it is.
    #[inline]
    pub fn of(address: &Address) -> Self {
        let mut text = Self { bytes: [0; BYTES], len: 0 };
        match address {
            Address::V4(address) => {
                let [a, b, c, d] = address.ip().octets();
                text.push_number(a);
                for number in [b, c, d] {
                    text.push(b'.');
                    text.push_number(number);
                }
            }
            // There is always room.
            Address::V6(address) => write!(text, "{}", address.ip()).unwrap_or_default(),
            Address::Unix(path) => match path.as_path() {
                Some(_) => path.as_bytes().iter().for_each(|byte| text.push(*byte)),
                None => write!(text, "{path}").unwrap_or_default(),
            },
        }
        text
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        // The last one stays the NUL.
        if let Some(place) = self.bytes.get_mut(..BYTES - 1).and_then(|all| all.get_mut(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }

    #[inline]
    fn push_number(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    /// Without the NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// With the NUL. A text ends with its first one.
    #[inline]
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Write for AddressText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::address::{Family, MAX_UNIX_PATH};

    #[test]
    fn the_text_is_the_host_with_a_nul_behind_it() {
        let long = "/".repeat(MAX_UNIX_PATH);
        let hosts = [
            (Family::V4, "0.0.0.0"),
            (Family::V4, "9.10.99.100"),
            (Family::V4, "255.255.255.255"),
            (Family::V6, "::"),
            (Family::V6, "::ffff:255.255.255.255"),
            (Family::V6, "ffff:eeee:dddd:cccc:bbbb:aaaa:9999:8888"),
            (Family::Unix, "/tmp/a b"),
            (Family::Unix, &long),
        ];
        for (family, host) in hosts {
            let text = AddressText::of(&Address::parse(family, host, 7).unwrap());
            assert_eq!(text.as_c_str().to_str().unwrap(), host);
            assert_eq!(text.as_bytes(), host.as_bytes());
        }
        assert!(AddressText::of(&Address::UNNAMED).as_c_str().is_empty());
    }
}
