//! Sockets that several units take from, and what one of them leaves there.
//!
//! The system wakes one unit for a connection or a datagram. If that one takes no more, because it
//! leaves, nobody else hears of what it was woken for before something new comes. So whoever stops
//! has all others look once.

use super::Unit;

impl Unit {
    /// This unit takes no more. Said when it has stopped watching: what comes from now on wakes
    /// somebody else.
    pub(super) fn leave_rest_to_others(&self) {
        let plan = &self.runtime.plan;
        let others = plan.reactors().iter().filter(|id| **id != self.plan.id);
        let is_shared = self.reactor.is_some() && !self.plan.roles.is_reactor_only();
        if !is_shared || self.runtime.control.root().is_ending() {
            return;
        }
        self.runtime.control.root().renew_accept();
        others.for_each(|id| self.runtime.control.wiring.ring(id.0));
    }

    /// Has all sockets looked at once more if somebody else has stopped looking.
    #[inline]
    pub(super) fn take_left_over(&self) {
        let round = self.runtime.control.root().accept_round();
        if self.accept_round.replace(round) != round {
            self.look_again();
        }
    }

    /// A socket that is watched anew is told of if something waits there.
    #[cold]
    fn look_again(&self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.look_again(self);
        }
        if let Some(receiver) = &self.receiver {
            receiver.look_again(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Loop, Token};
    use crate::model::hooks::Hooks;
    use crate::model::plan::{Mode, Plan};
    use crate::model::port::Port;
    use crate::model::settings::{Machine, Settings};
    use crate::net::listener::{Listener, Manner};
    use crate::os::socket::SocketKind;
    use crate::unit::Runtime;
    use std::net::{TcpStream, UdpSocket};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(10);

    /// Who has sent something, and does not go.
    #[allow(dead_code)]
    enum Client {
        Stream(TcpStream),
        Datagrams(UdpSocket),
    }

    /// Two workers that take from the same sockets, one for streams and one for datagrams.
    fn two_workers() -> Vec<(Rc<Unit>, Loop)> {
        let machine = Machine { cpu_count: 1, descriptor_limit: 1024, port_descriptor: 3 };
        let mut settings = Settings::new(Mode::Base, machine);
        settings.set_int("worker_num", 2).unwrap();
        let port = |kind| {
            let listener = Listener::bind(kind, "127.0.0.1", 0, Manner::default()).unwrap();
            let settings = settings.port_in_force();
            listener.listen(&settings.socket).unwrap();
            Port { listener, settings, hooks: Hooks::default(), tls: None }
        };
        let ports = vec![port(SocketKind::Tcp), port(SocketKind::Udp)];
        let in_force = settings.in_force();
        let plan = Plan::new(Mode::Base, &in_force, 0);
        let ids = plan.workers().to_vec();
        let runtime =
            Arc::new(Runtime::new(plan, in_force, Hooks::default(), Vec::new(), ports).unwrap());
        runtime.control.root().open();
        let begin = |id| {
            let (unit, events) = Unit::new(Arc::clone(&runtime), id).unwrap();
            unit.open_acceptor();
            (unit, events)
        };
        ids.into_iter().map(begin).collect()
    }

    /// Whether the loop is told of this within the time.
    fn is_told(events: &mut Loop, token: Token, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            events.wait(Some(left)).unwrap();
            if events.ready().any(|ready| ready.token == token) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Something for one of two units that take it, the first of which sleeps when it comes, so
    /// that the other is told nothing.
    fn wake_first(number: usize, token: Token) -> (Rc<Unit>, (Rc<Unit>, Loop), Client) {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let mut workers = two_workers();
            let (leaver, mut stayer) = (workers.remove(0), workers.remove(0));
            let (leaver, mut events) = leaver;
            let address = ("127.0.0.1", leaver.runtime.ports[number].listener.port());
            let sleeper = thread::spawn(move || assert!(is_told(&mut events, token, LIMIT)));
            // Whether it sleeps by now shows only in who is told.
            (0..100).for_each(|_| thread::yield_now());
            let client = match number {
                0 => Client::Stream(TcpStream::connect(address).unwrap()),
                _ => {
                    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                    client.send_to(b"x", address).unwrap();
                    Client::Datagrams(client)
                }
            };
            sleeper.join().unwrap();
            if !is_told(&mut stayer.1, token, Duration::ZERO) {
                return (leaver, stayer, client);
            }
        }
        panic!("both are told each time");
    }

    #[test]
    fn what_one_was_woken_for_that_takes_no_more_is_taken_by_another() {
        for (number, token) in [(0, Token::Listener(0)), (1, Token::Datagrams(1))] {
            let (leaver, (stayer, mut events), _client) = wake_first(number, token);
            leaver.quiesce();
            stayer.take_left_over();
            assert!(is_told(&mut events, token, LIMIT), "{token:?}");
        }
    }
}
