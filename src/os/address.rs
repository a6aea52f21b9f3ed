//! Addresses of sockets: as the system wants them, as people write them, and as Rust holds them.

use std::fmt;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::path::Path;

use nix::errno::Errno;

/// The longest path of a Unix socket in bytes; the system wants room for a NUL behind it.
pub const MAX_UNIX_PATH: usize = 107;

/// Where the path stands in a sockaddr_un: behind the family.
const UNIX_PATH_OFFSET: usize = mem::size_of::<libc::sa_family_t>();

/// The families of addresses that the library serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
    Unix,
}

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    V4(SocketAddrV4),
    V6(SocketAddrV6),
    Unix(UnixPath),
}

/// Why a text is no address.
#[derive(Debug)]
pub enum AddressError {
    NotIpv4,
    NotIpv6,
    /// More than [`MAX_UNIX_PATH`] bytes.
    PathTooLong,
    /// An empty path, or one with a NUL byte.
    BadPath,
    /// The resolver does not know the name, or knows no address of the family.
    Unresolved(io::Error),
}

impl Address {
    /// A Unix socket that did not bind.
    pub const UNNAMED: Self = Self::Unix(UnixPath { bytes: [0; MAX_UNIX_PATH + 1], len: 0 });

    /// An address written out; names are not looked up. The port means nothing for a path.
    pub fn parse(family: Family, host: &str, port: u16) -> Result<Self, AddressError> {
        match family {
            Family::V4 => {
                let ip: Ipv4Addr = host.parse().map_err(|_| AddressError::NotIpv4)?;
                Ok(Self::V4(SocketAddrV4::new(ip, port)))
            }
            Family::V6 => {
                let ip: Ipv6Addr = host.parse().map_err(|_| AddressError::NotIpv6)?;
                Ok(Self::V6(SocketAddrV6::new(ip, port, 0, 0)))
            }
            Family::Unix => UnixPath::new(host.as_bytes()).map(Self::Unix),
        }
    }

    /// An address written out, or a name that the system's resolver knows in this family. May
    /// block for as long as the resolver takes.
    pub fn resolve(family: Family, host: &str, port: u16) -> Result<Self, AddressError> {
        match Self::parse(family, host, port) {
            Err(AddressError::NotIpv4 | AddressError::NotIpv6)
                if host.parse::<IpAddr>().is_err() => {}
            // Also an address of the other family: that is no name to look up.
            result => return result,
        }
        let found = (host, port).to_socket_addrs().map_err(AddressError::Unresolved)?;
        let mut of_family = found.map(Self::from).filter(|address| address.family() == family);
        let none = || io::Error::new(io::ErrorKind::NotFound, "no address of this family");
        of_family.next().ok_or_else(|| AddressError::Unresolved(none()))
    }

    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
            Self::Unix(_) => Family::Unix,
        }
    }

    /// The port, 0 for a path.
    pub fn port(&self) -> u16 {
        match self {
            Self::V4(address) => address.port(),
            Self::V6(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// The host alone as text: an IP without brackets, or a path, which is empty for a peer that
    /// did not bind.
    pub fn host(&self) -> String {
        match self {
            Self::V4(address) => address.ip().to_string(),
            Self::V6(address) => address.ip().to_string(),
            Self::Unix(path) => path.to_string(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(address),
        }
    }
}

/// `host:port`, `[host]:port` or `unix:path`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIpv4 => f.write_str("not an IPv4 address"),
            Self::NotIpv6 => f.write_str("not an IPv6 address"),
            Self::PathTooLong => write!(f, "a socket path has at most {MAX_UNIX_PATH} bytes"),
            Self::BadPath => f.write_str("a socket path is empty or holds a NUL byte"),
            Self::Unresolved(cause) => write!(f, "the name could not be resolved: {cause}"),
        }
    }
}

impl std::error::Error for AddressError {}

/// The path of a Unix socket, held in place. A peer that did not bind has an empty one; a peer with
/// a name of the abstract kind has one that begins with NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixPath {
    /// Zero behind the path, so that equal paths are equal.
    bytes: [u8; MAX_UNIX_PATH + 1],
    len: u8,
}

impl UnixPath {
    /// The place of a file.
    pub fn new(path: &[u8]) -> Result<Self, AddressError> {
        if path.is_empty() || path.contains(&0) {
            return Err(AddressError::BadPath);
        }
        if path.len() > MAX_UNIX_PATH {
            return Err(AddressError::PathTooLong);
        }
        Ok(Self::of(path))
    }

    /// Any name that the system uses; what exceeds its own limit cannot come from there.
    fn of(name: &[u8]) -> Self {
        let mut bytes = [0; MAX_UNIX_PATH + 1];
        bytes.iter_mut().zip(name).for_each(|(place, byte)| *place = *byte);
        Self { bytes, len: name.len().min(bytes.len()) as u8 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The file, `None` if the peer has none: it did not bind, or its name is abstract.
    pub fn as_path(&self) -> Option<&Path> {
        use std::os::unix::ffi::OsStrExt;
        let is_file = self.as_bytes().first().is_some_and(|byte| *byte != 0);
        is_file.then(|| Path::new(std::ffi::OsStr::from_bytes(self.as_bytes())))
    }
}

/// The path; `@` stands for the NUL of an abstract name.
impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_bytes() {
            [0, name @ ..] => write!(f, "@{}", String::from_utf8_lossy(name)),
            path => f.write_str(&String::from_utf8_lossy(path)),
        }
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixPath({:?})", self.to_string())
    }
}

/// An address in the form of the system, as an argument of its calls or as a place for its answer.
#[derive(Clone, Copy)]
pub(super) struct RawAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddress {
    /// A place for any address.
    pub(super) fn unset() -> Self {
        // SAFETY: all-zero is a valid sockaddr_storage, of no family.
        let storage = unsafe { MaybeUninit::zeroed().assume_init() };
        Self { storage, len: mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// As much of `bytes` as an address has room for, the rest is zero.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut raw = Self::unset();
        let len = bytes.len().min(raw.len as usize);
        raw.len = len as libc::socklen_t;
        let place = (&mut raw.storage as *mut libc::sockaddr_storage).cast::<u8>();
        // SAFETY: both have at least `len` bytes and lie apart; any bytes are a valid storage.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, len) };
        raw
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&self.storage as *const libc::sockaddr_storage).cast()
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        self.len
    }

    /// Where a call writes an address, and where it writes how long it is.
    pub(super) fn as_mut_parts(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&mut self.storage as *mut libc::sockaddr_storage).cast(), &mut self.len)
    }

    /// Writes `value` over the beginning; `len` bytes of it count.
    ///
    /// # Safety
    /// - `T` is one of libc's sockaddr structures.
    unsafe fn set<T: Copy>(value: T, len: usize) -> Self {
        let mut raw = Self::unset();
        raw.len = len as libc::socklen_t;
        // SAFETY: the storage is made to be as large and as aligned as any of them.
        unsafe { (&mut raw.storage as *mut libc::sockaddr_storage).cast::<T>().write(value) };
        raw
    }

    /// The beginning as one of the sockaddr structures.
    ///
    /// # Safety
    /// - `T` is one of libc's sockaddr structures.
    unsafe fn get<T: Copy>(&self) -> T {
        // SAFETY: the storage is as large and as aligned as any of them, and always initialised;
        // they are made of integers.
        unsafe { (&self.storage as *const libc::sockaddr_storage).cast::<T>().read() }
    }
}

impl From<&Address> for RawAddress {
    fn from(address: &Address) -> Self {
        match address {
            Address::V4(address) => raw_v4(address),
            Address::V6(address) => raw_v6(address),
            Address::Unix(path) => raw_unix(path),
        }
    }
}

fn raw_v4(address: &SocketAddrV4) -> RawAddress {
    let value = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: one of the sockaddr structures.
    unsafe { RawAddress::set(value, mem::size_of_val(&value)) }
}

fn raw_v6(address: &SocketAddrV6) -> RawAddress {
    let value = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
        sin6_scope_id: address.scope_id(),
    };
    // SAFETY: one of the sockaddr structures.
    unsafe { RawAddress::set(value, mem::size_of_val(&value)) }
}

fn raw_unix(path: &UnixPath) -> RawAddress {
    let mut sun_path = [0; MAX_UNIX_PATH + 1];
    let name = path.as_bytes();
    sun_path.iter_mut().zip(name).for_each(|(place, byte)| *place = *byte as libc::c_char);
    // The NUL behind the path of a file counts; an abstract name ends with its last byte.
    let end = usize::from(path.as_path().is_some());
    let value = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path };
    // SAFETY: one of the sockaddr structures.
    unsafe { RawAddress::set(value, UNIX_PATH_OFFSET + name.len() + end) }
}

impl TryFrom<&RawAddress> for Address {
    type Error = io::Error;

    fn try_from(raw: &RawAddress) -> io::Result<Self> {
        // Some calls give no address at all where the peer has none.
        if raw.len == 0 {
            return Err(Errno::EAFNOSUPPORT.into());
        }
        match libc::c_int::from(raw.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: one of the sockaddr structures.
                let value: libc::sockaddr_in = unsafe { raw.get() };
                let ip = Ipv4Addr::from(value.sin_addr.s_addr.to_ne_bytes());
                Ok(Self::V4(SocketAddrV4::new(ip, u16::from_be(value.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: one of the sockaddr structures.
                let value: libc::sockaddr_in6 = unsafe { raw.get() };
                let (ip, port) = (Ipv6Addr::from(value.sin6_addr.s6_addr), value.sin6_port);
                let (flow, scope) = (value.sin6_flowinfo, value.sin6_scope_id);
                Ok(Self::V6(SocketAddrV6::new(ip, u16::from_be(port), flow, scope)))
            }
            libc::AF_UNIX => {
                // SAFETY: one of the sockaddr structures.
                let value: libc::sockaddr_un = unsafe { raw.get() };
                Ok(Self::Unix(path_in(&value, raw.len as usize)))
            }
            _ => Err(Errno::EAFNOSUPPORT.into()),
        }
    }
}

/// The name that the system has written into `value`, of which `len` bytes count.
fn path_in(value: &libc::sockaddr_un, len: usize) -> UnixPath {
    let bytes = value.sun_path.map(|byte| byte as u8);
    let used = len.saturating_sub(UNIX_PATH_OFFSET).min(bytes.len());
    let name = bytes.get(..used).unwrap_or_default();
    let is_file = name.first().is_some_and(|byte| *byte != 0);
    let end = name.iter().position(|byte| is_file && *byte == 0).unwrap_or(name.len());
    UnixPath::of(name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_the_system(address: Address) -> Address {
        Address::try_from(&RawAddress::from(&address)).unwrap()
    }

    #[test]
    fn every_kind_survives_the_way_to_the_system_and_back() {
        let long = "/".repeat(MAX_UNIX_PATH);
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 65535, 7, 3);
        for address in [
            Address::parse(Family::V4, "1.2.3.4", 80).unwrap(),
            Address::parse(Family::V6, "2001:db8::7", 1).unwrap(),
            Address::V6(scoped),
            Address::parse(Family::Unix, "/tmp/x.sock", 9).unwrap(),
            Address::parse(Family::Unix, &long, 0).unwrap(),
            Address::UNNAMED,
            Address::Unix(UnixPath::of(b"\0abstract\0name")),
            Address::Unix(UnixPath::of(&[0; MAX_UNIX_PATH + 1])),
        ] {
            assert_eq!(through_the_system(address), address);
        }
    }

    #[test]
    fn the_bytes_of_the_system_are_in_network_order() {
        let raw = RawAddress::from(&Address::parse(Family::V4, "1.2.3.4", 0x1234).unwrap());
        // SAFETY: one of the sockaddr structures.
        let value: libc::sockaddr_in = unsafe { raw.get() };
        assert_eq!(value.sin_port.to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(value.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn addresses_are_written_as_people_do() {
        let texts = |family, host: &str, port| {
            let address = Address::parse(family, host, port).unwrap();
            (address.host(), address.port(), address.to_string())
        };
        let owned = |host: &str, port, full: &str| (host.to_owned(), port, full.to_owned());
        assert_eq!(texts(Family::V4, "127.0.0.1", 9), owned("127.0.0.1", 9, "127.0.0.1:9"));
        assert_eq!(texts(Family::V6, "0:0::1", 9), owned("::1", 9, "[::1]:9"));
        assert_eq!(texts(Family::Unix, "/a b", 9), owned("/a b", 0, "unix:/a b"));
        let mapped = Address::parse(Family::V6, "::ffff:10.0.0.1", 1).unwrap();
        assert_eq!(mapped.host(), "::ffff:10.0.0.1");
        assert_eq!(UnixPath::of(b"\0name").to_string(), "@name");
    }

    #[test]
    fn what_is_no_literal_is_refused_with_its_reason() {
        for host in ["", "1.2.3", "1.2.3.256", "::1", "localhost", "1.2.3.4 "] {
            let error = Address::parse(Family::V4, host, 1).unwrap_err();
            assert!(matches!(error, AddressError::NotIpv4), "{host:?}");
        }
        for host in ["", "1.2.3.4", "[::1]", ":::", "localhost"] {
            let error = Address::parse(Family::V6, host, 1).unwrap_err();
            assert!(matches!(error, AddressError::NotIpv6), "{host:?}");
        }
        let long = "x".repeat(MAX_UNIX_PATH + 1);
        let too_long = Address::parse(Family::Unix, &long, 1);
        assert!(matches!(too_long, Err(AddressError::PathTooLong)));
        for path in ["", "a\0b"] {
            assert!(matches!(UnixPath::new(path.as_bytes()), Err(AddressError::BadPath)));
        }
    }

    #[test]
    fn names_are_resolved_within_the_family() {
        let address = Address::resolve(Family::V4, "localhost", 5).unwrap();
        assert_eq!(address, Address::parse(Family::V4, "127.0.0.1", 5).unwrap());
        let literal = Address::resolve(Family::V6, "::", 5).unwrap();
        assert_eq!(literal.host(), "::");
        let of_v6 = Address::resolve(Family::V4, "::1", 1).unwrap_err();
        assert!(matches!(of_v6, AddressError::NotIpv4), "{of_v6}");
        let of_v4 = Address::resolve(Family::V6, "127.0.0.1", 1).unwrap_err();
        assert!(matches!(of_v4, AddressError::NotIpv6), "{of_v4}");
        let nothing = Address::resolve(Family::V4, "", 1).unwrap_err();
        assert!(matches!(nothing, AddressError::Unresolved(_)), "{nothing}");
    }

    #[test]
    fn a_foreign_family_is_an_error() {
        let mut raw = RawAddress::unset();
        assert!(Address::try_from(&raw).is_err());
        raw.storage.ss_family = libc::AF_NETLINK as libc::sa_family_t;
        assert!(Address::try_from(&raw).is_err());
    }
}
