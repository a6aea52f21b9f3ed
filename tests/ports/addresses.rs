//! Addresses: both families at one port, one family only, and addresses that are taken.

use crate::common::prelude::*;
use crate::common::process::Port;
use crate::ports::{add, ask_peer, bound_to, option, port, reach};
use crate::puppet::{self, answer};

fn is_v6_only(socket: i32) -> bool {
    option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) == 1
}

/// Tells each peer as whom it is known.
fn tell_address(server: api::Handle, event: &Event) {
    let info = server.client_info(event.fd(), false);
    let text = info.map_or_else(|error| error.to_string(), |info| api::remote_ip(&info));
    answer(server, event.fd(), format!("{text}\n").as_bytes());
}

fn address_at(host: &str, port: u16) -> std::io::Result<String> {
    ask_peer(&mut *reach(host, i32::from(port))?, "who am I")
}

pub fn on_both_families(setup: &Setup) -> Outcome {
    let server = setup.bare_server("::", SW_SOCK_TCP6)?;
    server.on("start", |_, _| {})?;
    server.on("receive", tell_address)?;
    server.start()?;
    Ok(())
}

pub fn an_address_of_both_families_takes_peers_of_both(server: &Running) -> Outcome {
    drop(server.connect()?);
    assert_eq!(address_at("127.0.0.1", server.port())?, "::ffff:127.0.0.1");
    assert_eq!(address_at("::1", server.port())?, "::1");
    Ok(())
}

pub fn one_port_for_each_family(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], tell_address)?;
    let own = add(*server, "::", i32::from(setup.port), SW_SOCK_TCP6)?;
    let before = own.socket();
    own.set("ipv6_only", "true")?;
    assert_eq!(own.socket(), before);
    server.start()?;
    Ok(())
}

/// Both listen, which the system allows only if the second takes no IPv4 peers.
pub fn a_port_for_ipv6_only_leaves_ipv4_to_others(server: &Running) -> Outcome {
    drop(server.connect()?);
    assert_eq!(address_at("127.0.0.1", server.port())?, "127.0.0.1");
    assert_eq!(address_at("::1", server.port())?, "::1");
    // 127.0.0.2 is an address of this machine as well, where the first port does not listen.
    let refused = reach("127.0.0.2", i32::from(server.port())).err();
    assert_eq!(refused.and_then(|error| error.raw_os_error()), Some(libc::ECONNREFUSED));
    Ok(())
}

pub fn a_socket_is_bound_for_ipv6_only_when_that_is_set() -> Outcome {
    for kind in [SW_SOCK_TCP6, SW_SOCK_UDP6] {
        let server = Server::new("::", 0, SW_BASE, kind)?;
        let first = port(*server, 0)?;
        let (socket, number) = (first.socket(), first.number());
        let plain = add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?;
        let second = add(*server, "::", 0, kind)?;
        let state = || (is_v6_only(first.socket()), is_v6_only(second.socket()));
        assert_eq!(state(), (false, false));
        server.set("IPV6_ONLY", "true")?;
        assert_eq!(state(), (true, true));
        // It is the same descriptor, at the same port, and closed when the program forks and execs.
        assert_eq!((first.socket(), first.number()), (socket, number));
        assert_eq!(bound_to(socket), (libc::AF_INET6, number as u16));
        // SAFETY: takes a number.
        assert_eq!(unsafe { libc::fcntl(socket, libc::F_GETFD) }, libc::FD_CLOEXEC);
        assert_eq!(bound_to(plain.socket()).0, libc::AF_INET);
        // A port with settings of its own has defaults for the rest.
        second.set_json("{}")?;
        assert_eq!(state(), (true, false));
        let third = add(*server, "::", 0, kind)?;
        assert!(is_v6_only(third.socket()));
        server.set_json("{\"ipv6_only\": false}")?;
        assert_eq!((state(), is_v6_only(third.socket())), ((false, false), false));
    }
    Ok(())
}

pub fn an_address_is_taken_once_and_the_first_port_stays_usable() -> Outcome {
    for kind in [SW_SOCK_TCP, SW_SOCK_UDP] {
        // A number that the system gives to no client.
        let reserved = Port::reserve()?;
        let server = Server::new("127.0.0.1", i32::from(reserved.number), SW_PROCESS, kind)?;
        let first = port(*server, 0)?;
        for host in ["127.0.0.1", "0.0.0.0", "localhost"] {
            let again = add(*server, host, first.number(), kind);
            assert_eq!(again.map_err(|error| error.code), Err(libc::EADDRINUSE), "{host}");
        }
        assert_eq!(bound_to(first.socket()), (libc::AF_INET, first.number() as u16));
        // The same number is another address for another protocol.
        let other = if kind == SW_SOCK_TCP { SW_SOCK_UDP } else { SW_SOCK_TCP };
        assert_eq!(add(*server, "127.0.0.1", first.number(), other)?.number(), first.number());
        assert!(port(*server, 2).is_err(), "a port that was refused is there");
    }
    Ok(())
}
