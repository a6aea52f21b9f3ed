//! Messages that are cut from what a connection sends, seen from both ends of a server that speaks
//! every protocol, each on a port of its own.

#[path = "framed/breaking.rs"]
mod breaking;
mod common;
#[path = "framed/cutting.rs"]
mod cutting;
#[path = "framed/flow.rs"]
mod flow;
#[path = "framed/lives.rs"]
mod lives;
mod puppet;
#[path = "framed/speech.rs"]
mod speech;

use breaking::*;
use common::prelude::*;
use cutting::*;
use flow::*;
use lives::*;
use puppet::{ask, number};
use speech::*;
use std::io::{self, Read};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The client side: the connection to the puppet, and those to the ports.
pub struct Lab<'a> {
    server: &'a Running,
    puppet: Client,
}

impl<'a> Lab<'a> {
    pub fn new(server: &'a Running) -> Fallible<Self> {
        Ok(Self { server, puppet: server.connect()? })
    }

    /// A connection on which that protocol is spoken.
    pub fn connect(&self, name: &str) -> Fallible<Client> {
        let start = format!("port {} ", name.replace(' ', "_"));
        let line = self.server.wait_line(|line| line.starts_with(&start), STEP)?;
        let mut client = Client::connect(number(line.trim_start_matches(&start)))?;
        let (said, begin) = hello(name);
        if begin > 0 {
            client.send(said)?;
            let mut head = client.receive(begin)?;
            while !head.ends_with(b"\r\n\r\n") {
                head.extend(client.receive(1)?);
            }
        }
        Ok(client)
    }

    /// Bytes that came through a port.
    pub fn received(&mut self, name: &str) -> Fallible<usize> {
        Ok(number(&ask(&mut self.puppet, &format!("received {}", index_of(name)))?))
    }

    /// Sends bytes and waits until they were read.
    pub fn deliver(&mut self, name: &str, client: &mut Client, bytes: &[u8]) -> Outcome {
        let before = self.received(name)?;
        client.send(bytes)?;
        let end = std::time::Instant::now() + STEP;
        while self.received(name)? < before + bytes.len() {
            if std::time::Instant::now() > end {
                return Err(format!("{} bytes were not read", bytes.len()).into());
            }
        }
        Ok(())
    }

    /// The first reported line that begins so.
    pub fn wait(&self, start: &str) -> Fallible<String> {
        Ok(self.server.wait_line(|line| line.starts_with(start), STEP)?)
    }
}

/// The next message that was handed over.
pub fn next_unit(client: &mut Client) -> Fallible<Bytes> {
    let length = client.receive(4)?;
    let length = u32::from_be_bytes(length.try_into().map_err(|_| "no four bytes")?);
    Ok(client.receive(length as usize)?)
}

/// The messages that were handed over are these.
pub fn expect(client: &mut Client, units: &[Bytes]) -> Outcome {
    for (index, unit) in units.iter().enumerate() {
        let next = next_unit(client)?;
        if next != *unit {
            let shown =
                |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            return Err(format!("message {index} is {}, not {}", shown(&next), shown(unit)).into());
        }
    }
    Ok(())
}

/// What comes before the end. One that was made while bytes were on their way may be a reset.
pub fn last_words(client: &mut Client) -> Fallible<Bytes> {
    let mut bytes = Vec::new();
    match client.stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.into()),
        Ok(_) | Err(_) => Ok(bytes),
    }
}

server_tests! {
    messages_are_found_wherever_the_bytes_are_cut: polyglot;
    a_thousand_messages_in_one_segment_are_answered_in_order: polyglot;
    connections_that_send_in_turns_do_not_mix: polyglot;
    large_messages_arrive_whole: polyglot;
    a_message_that_comes_in_small_parts_arrives_whole: polyglot;
    a_unix_port_has_its_own_framing: polyglot;
    what_a_port_speaks_is_seen_in_its_settings: polyglot;
    a_message_of_the_limit_is_taken_and_one_more_byte_ends_the_connection: polyglot;
    what_breaks_a_protocol_ends_the_connection_and_is_told_once: polyglot;
    a_length_that_was_only_announced_costs_no_memory: polyglot;
    a_websocket_peer_that_takes_its_leave_is_echoed_and_closed: polyglot;
    a_websocket_message_says_what_it_is: polyglot;
    a_message_that_has_waited_for_a_callback_says_when_it_came: polyglot;
    a_client_that_waits_for_a_word_is_told_to_go_on: polyglot;
    a_length_function_that_panics_ends_its_process: panicking, in [Mode::Process];
    a_callback_that_closes_gets_nothing_more: polyglot;
    a_callback_that_pauses_gets_nothing_before_it_is_resumed: polyglot;
    what_is_not_whole_at_the_end_is_thrown_away: polyglot;
    a_worker_that_stands_still_stops_its_own_connections_alone: patient, in [Mode::Process];
    half_a_message_outlives_the_worker: polyglot, in [Mode::Process];
    no_more_than_the_limit_waits_for_a_worker: limited, in [Mode::Process];
    nothing_is_cut_before_it_is_confirmed: delayed;
    half_of_any_message_outlives_workers_that_are_replaced_or_killed: polyglot, in [Mode::Process];
    half_of_any_message_goes_with_the_worker_that_read_it: polyglot, in [Mode::Base, Mode::Thread];
    half_a_message_does_not_keep_the_server_from_its_end: polyglot;
    who_stops_in_the_middle_of_a_message_is_idle_unless_it_is_protected: beating;
}
