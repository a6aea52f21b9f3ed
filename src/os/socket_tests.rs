//! Tests of the sockets, all on the loopback or in a folder of their own.

use super::*;
use std::path::PathBuf;
use std::time::Duration;

/// Waits until `fd` can be read or has failed: the same poll that watches a process.
fn until_readable(fd: &OwnedFd) {
    let in_time = crate::os::process::wait_for(fd, Some(Duration::from_secs(10))).unwrap();
    assert!(in_time, "nothing came");
}

fn loopback(kind: SocketKind) -> Address {
    let host = if kind.family() == Family::V4 { "127.0.0.1" } else { "::1" };
    Address::parse(kind.family(), host, 0).unwrap()
}

fn listener(kind: SocketKind, address: &Address) -> (OwnedFd, Address) {
    let socket = bind(kind, address).unwrap();
    listen(socket.as_raw_fd(), 16).unwrap();
    let bound = local_address(socket.as_raw_fd()).unwrap();
    (socket, bound)
}

fn begin_to_connect(client: &OwnedFd, address: &Address) {
    if let Err(cause) = connect(client.as_raw_fd(), address) {
        assert_eq!(cause.raw_os_error(), Some(libc::EINPROGRESS));
    }
}

/// Both ends of a connection, and the peer's address as the listener saw it.
fn connected(kind: SocketKind, address: &Address) -> (OwnedFd, OwnedFd, Address) {
    let (listener, bound) = listener(kind, address);
    let client = open(kind).unwrap();
    begin_to_connect(&client, &bound);
    until_readable(&listener);
    let (served, peer) = accept(listener.as_raw_fd()).unwrap();
    assert_eq!(pending_error(client.as_raw_fd()).unwrap().map(|error| error.kind()), None);
    (client, served, peer)
}

fn received(fd: &OwnedFd, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        until_readable(fd);
        let mut buffer = [0; 4096];
        let size = recv(fd.as_raw_fd(), &mut buffer).unwrap();
        assert_ne!(size, 0, "the peer has closed");
        all.extend_from_slice(&buffer[..size]);
    }
    all
}

/// A path for a socket that is removed with this.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("sw-{name}-{}.sock", std::process::id())))
    }

    fn address(&self) -> Address {
        Address::parse(Family::Unix, self.0.to_str().unwrap(), 0).unwrap()
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn streams_carry_bytes_and_tell_their_peer() {
    for kind in [SocketKind::Tcp, SocketKind::Tcp6] {
        let (client, served, peer) = connected(kind, &loopback(kind));
        assert_eq!(peer, local_address(client.as_raw_fd()).unwrap());
        assert_eq!(send(served.as_raw_fd(), b"hello").unwrap(), 5);
        assert_eq!(received(&client, 5), b"hello");
    }
}

#[test]
fn a_unix_stream_has_a_nameless_peer_and_its_path_is_taken() {
    let path = SocketPath::new("stream");
    let (client, served, peer) = connected(SocketKind::UnixStream, &path.address());
    assert_eq!((peer, peer.host().as_str()), (Address::UNNAMED, ""));
    assert_eq!(local_address(served.as_raw_fd()).unwrap(), path.address());
    assert_eq!(send(client.as_raw_fd(), b"x").unwrap(), 1);
    assert_eq!(received(&served, 1), b"x");
    let again = bind(SocketKind::UnixStream, &path.address()).unwrap_err();
    assert_eq!(again.raw_os_error(), Some(libc::EADDRINUSE));
}

#[test]
fn nothing_here_blocks_or_survives_an_exec() {
    let (client, served, _) = connected(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    let (listener, _) = listener(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    let nobody = accept(listener.as_raw_fd()).unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    let silence = recv(client.as_raw_fd(), &mut [0; 8]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
    for socket in [&listener, &client, &served] {
        let flags = nix::fcntl::fcntl(socket.as_raw_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

#[test]
fn an_address_in_use_is_refused_and_a_shared_one_is_not() {
    let (_first, bound) = listener(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    let error = bind(SocketKind::Tcp, &bound).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    let shared = bind_shared(SocketKind::Tcp, &loopback(SocketKind::Tcp)).unwrap();
    let bound = local_address(shared.as_raw_fd()).unwrap();
    bind_shared(SocketKind::Tcp, &bound).unwrap();
}

#[test]
fn the_families_of_socket_and_address_must_agree() {
    let error = bind(SocketKind::Tcp6, &loopback(SocketKind::Tcp)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn pieces_leave_in_order_and_as_far_as_the_socket_takes_them() {
    let (client, served, _) = connected(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    let pieces = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
    assert_eq!(send_all_of(served.as_raw_fd(), &pieces).unwrap(), 7);
    assert_eq!(received(&client, 7), b"one two");
    let many = vec![IoSlice::new(b"x"); MAX_PIECES + 5];
    assert_eq!(send_all_of(served.as_raw_fd(), &many).unwrap(), MAX_PIECES);
    let flood = vec![0; 64 << 20];
    let taken = send_all_of(served.as_raw_fd(), &[IoSlice::new(&flood)]).unwrap();
    assert!((1..flood.len()).contains(&taken));
    let full = send(served.as_raw_fd(), &flood).map_or_else(
        |error| error.kind(),
        |size| {
            assert!(size < flood.len());
            io::ErrorKind::WouldBlock
        },
    );
    assert_eq!(full, io::ErrorKind::WouldBlock);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_not_a_signal() {
    assert!(crate::os::testing::passes_in_child(|| {
        // SAFETY: this child's own disposition: the deadly one.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (client, served, _) = connected(SocketKind::Tcp, &loopback(SocketKind::Tcp));
        reset_on_close(client.as_raw_fd()).unwrap();
        drop(client);
        until_readable(&served);
        let reset = pending_error(served.as_raw_fd()).unwrap().unwrap();
        assert_eq!(reset.raw_os_error(), Some(libc::ECONNRESET));
        let error = send(served.as_raw_fd(), b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        let error = send_all_of(served.as_raw_fd(), &[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }));
}

#[test]
fn after_the_end_of_writing_the_other_side_still_answers() {
    let (client, served, _) = connected(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    assert_eq!(send(client.as_raw_fd(), b"last").unwrap(), 4);
    shutdown_write(client.as_raw_fd()).unwrap();
    assert_eq!(received(&served, 4), b"last");
    until_readable(&served);
    assert_eq!(recv(served.as_raw_fd(), &mut [0; 8]).unwrap(), 0);
    assert_eq!(send(served.as_raw_fd(), b"answer").unwrap(), 6);
    assert_eq!(received(&client, 6), b"answer");
}

#[test]
fn datagrams_keep_their_bounds_and_their_sender() {
    for kind in [SocketKind::Udp, SocketKind::Udp6] {
        let (one, two) =
            (bind(kind, &loopback(kind)).unwrap(), bind(kind, &loopback(kind)).unwrap());
        let [from, to] = [&one, &two].map(|socket| local_address(socket.as_raw_fd()).unwrap());
        assert_eq!(send_to(one.as_raw_fd(), b"ab", &to).unwrap(), 2);
        assert_eq!(send_to(one.as_raw_fd(), b"", &to).unwrap(), 0);
        let mut buffer = [0; 16];
        until_readable(&two);
        assert_eq!(recv_from(two.as_raw_fd(), &mut buffer).unwrap(), (2, from));
        assert_eq!(&buffer[..2], b"ab");
        until_readable(&two);
        assert_eq!(recv_from(two.as_raw_fd(), &mut buffer).unwrap(), (0, from));
    }
}

#[test]
fn a_unix_datagram_from_nowhere_has_an_empty_sender() {
    let path = SocketPath::new("dgram");
    let server = bind(SocketKind::UnixDgram, &path.address()).unwrap();
    let client = open(SocketKind::UnixDgram).unwrap();
    assert_eq!(send_to(client.as_raw_fd(), b"hi", &path.address()).unwrap(), 2);
    let mut buffer = [0; 8];
    until_readable(&server);
    let (size, from) = recv_from(server.as_raw_fd(), &mut buffer).unwrap();
    assert_eq!((size, from.host().as_str()), (2, ""));
}

#[test]
fn options_are_set_and_inherited_by_what_is_accepted() {
    let (listener, bound) = listener(SocketKind::Tcp, &loopback(SocketKind::Tcp));
    let fd = listener.as_raw_fd();
    set_nodelay(fd, true).unwrap();
    set_keepalive(fd, &Keepalive { idle_s: 30, interval_s: 5, count: 3 }).unwrap();
    set_user_timeout(fd, 4000).unwrap();
    set_receive_buffer(fd, 20_000).unwrap();
    set_send_buffer(fd, 20_000).unwrap();
    set_fast_open(fd, 1).unwrap();
    let client = open(SocketKind::Tcp).unwrap();
    begin_to_connect(&client, &bound);
    until_readable(&listener);
    let (served, _) = accept(fd).unwrap();
    let of = |level, name| option(served.as_raw_fd(), level, name).unwrap();
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
    assert_eq!(of(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 30);
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 5);
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_KEEPCNT), 3);
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT), 4000);
    assert_eq!(of(libc::SOL_SOCKET, libc::SO_RCVBUF), 40_000);
    assert_eq!(of(libc::SOL_SOCKET, libc::SO_SNDBUF), 40_000);
    set_nodelay(served.as_raw_fd(), false).unwrap();
    assert_eq!(of(libc::IPPROTO_TCP, libc::TCP_NODELAY), 0);
    set_defer_accept(fd, 7).unwrap();
    assert!(option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT).unwrap() >= 7);
}

#[test]
fn the_kind_of_a_foreign_descriptor_is_found() {
    use SocketKind::*;
    for kind in [Tcp, Udp, Tcp6, Udp6, UnixStream, UnixDgram] {
        assert_eq!(SocketKind::of(open(kind).unwrap().as_raw_fd()).unwrap(), kind);
    }
    let no_socket = SocketKind::of(crate::os::eventfd::EventFd::new().unwrap().as_raw_fd());
    assert_eq!(no_socket.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
}

#[test]
fn a_pair_blocks_and_its_other_end_reads_the_rest_and_then_the_end_after_a_shutdown() {
    let (left, right) = pair().unwrap();
    let flags = || nix::fcntl::fcntl(left.as_raw_fd(), nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert_eq!(flags() & libc::O_NONBLOCK, 0);
    set_nonblocking(left.as_raw_fd()).unwrap();
    assert_ne!(flags() & libc::O_NONBLOCK, 0);
    set_blocking(left.as_raw_fd()).unwrap();
    assert_eq!(flags() & libc::O_NONBLOCK, 0);
    send(left.as_raw_fd(), b"rest").unwrap();
    shutdown(left.as_raw_fd()).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(recv(right.as_raw_fd(), &mut buffer).unwrap(), 4);
    assert_eq!(recv(right.as_raw_fd(), &mut buffer).unwrap(), 0);
    assert_eq!(send(right.as_raw_fd(), b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
}
