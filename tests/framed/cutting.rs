//! Whole messages come out, in order, however the bytes come in.

use crate::common::prelude::*;
use crate::speech::*;
use crate::{expect, next_unit, Fallible, Lab};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const BODIES: [&[u8]; 3] = [b"first", b"b", b"the_third_of_them"];

fn stream_of(name: &str) -> Bytes {
    BODIES.iter().flat_map(|body| frame(name, body)).collect()
}

fn units_of(name: &str) -> Vec<Bytes> {
    BODIES.iter().map(|body| unit(name, body)).collect()
}

/// Where marks are not searched for, several messages may come as one.
fn expect_marked(client: &mut Client, mut bytes: &[u8]) -> Outcome {
    while !bytes.is_empty() {
        let unit = next_unit(client)?;
        assert!(unit.ends_with(b"\r\n\r\n") && bytes.starts_with(&unit), "{unit:?}");
        bytes = &bytes[unit.len()..];
    }
    Ok(())
}

pub fn messages_are_found_wherever_the_bytes_are_cut(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    for name in ["eof"].iter().chain(EXACT) {
        let (mut client, stream) = (lab.connect(name)?, stream_of(name));
        for cut in 1..stream.len() {
            lab.deliver(name, &mut client, &stream[..cut])?;
            client.send(&stream[cut..])?;
            match *name {
                "eof" => expect_marked(&mut client, &stream)?,
                name => expect(&mut client, &units_of(name))?,
            }
        }
        for byte in &stream {
            lab.deliver(name, &mut client, &[*byte])?;
        }
        // Byte by byte each mark is the end of what has arrived.
        let units = units_of(name);
        expect(&mut client, &units)?;
    }
    Ok(())
}

pub fn a_thousand_messages_in_one_segment_are_answered_in_order(server: &Running) -> Outcome {
    const COUNT: usize = 1000;
    let lab = Lab::new(server)?;
    for name in EXACT {
        let body = |number: usize| format!("{number:040}").into_bytes();
        let bytes: Bytes = (0..COUNT).flat_map(|number| frame(name, &body(number))).collect();
        let mut client = lab.connect(name)?;
        client.send(&bytes)?;
        let units: Vec<Bytes> = (0..COUNT).map(|number| unit(name, &body(number))).collect();
        expect(&mut client, &units)?;
    }
    Ok(())
}

pub fn connections_that_send_in_turns_do_not_mix(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut all = Vec::new();
    for name in EXACT {
        for number in 0..3 {
            let body = format!("connection {number} of {name}").replace(' ', ".");
            all.push((lab.connect(name)?, *name, body.into_bytes()));
        }
    }
    for start in 0..10 {
        for (client, name, body) in &mut all {
            let stream = frame(name, body).repeat(4);
            let piece = stream.len().div_ceil(10);
            let begin = (start * piece).min(stream.len());
            client.send(&stream[begin..(begin + piece).min(stream.len())])?;
        }
    }
    for (client, name, body) in &mut all {
        expect(client, &vec![unit(name, body); 4])?;
    }
    Ok(())
}

/// Sends and expects the answer to this one message, at the same time.
fn exchange(client: &mut Client, bytes: &[u8], unit: &[u8]) -> Outcome {
    let mut writer = client.stream.try_clone()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || writer.write_all(bytes));
        expect(client, &[unit.to_vec()])?;
        Ok(sending.join().map_err(|_| "the sender panicked")??)
    })
}

fn letters(count: usize) -> Bytes {
    let alphabet: Bytes = (0..26 * 7).map(|index| b'a' + (index / 7) as u8).collect();
    let mut letters = alphabet.repeat(count.div_ceil(alphabet.len()));
    letters.truncate(count);
    letters
}

pub fn large_messages_arrive_whole(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    for name in ["large", "large eof", "large http"] {
        let mut client = lab.connect(name)?;
        for bytes in [8 * MIB, 100, LIMIT, MIB + 1, 3 * LIMIT, 2 * LIMIT - 4] {
            let body = letters(bytes);
            exchange(&mut client, &frame(name, &body), &unit(name, &body))?;
        }
        if name == "large http" {
            continue;
        }
        // Behind a large one in the same segment.
        let bodies = [letters(MIB), letters(10), letters(70_000), letters(20)];
        let all = |of: &dyn Fn(&[u8]) -> Bytes| -> Bytes {
            let parts: Vec<Bytes> = bodies.iter().map(|body| of(body)).collect();
            parts.concat()
        };
        let bytes = all(&|body| frame(name, body));
        let answers = all(&|body| answer_to(&unit(name, body)));
        let mut writer = client.stream.try_clone()?;
        let back = std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&bytes));
            client.receive(answers.len())
        })?;
        assert!(back == answers, "{name}: what came back is something else");
    }
    Ok(())
}

pub fn a_message_that_comes_in_small_parts_arrives_whole(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    for name in ["large", "large eof", "large http"] {
        let mut client = lab.connect(name)?;
        let body = letters(MIB);
        for part in frame(name, &body).chunks(1000) {
            client.send(part)?;
        }
        expect(&mut client, &[unit(name, &body)])?;
    }
    Ok(())
}

pub fn a_unix_port_has_its_own_framing(server: &Running) -> Outcome {
    let _lab = Lab::new(server)?;
    let mut stream = UnixStream::connect(server.temporary().join("framed"))?;
    stream.set_read_timeout(Some(STEP))?;
    let body = letters(300);
    let bytes = frame("length", &body);
    for part in bytes.chunks(100) {
        stream.write_all(part)?;
    }
    let mut answer = vec![0; 4 + bytes.len()];
    stream.read_exact(&mut answer)?;
    assert!(answer == answer_to(&bytes));
    Ok(())
}

/// The first port has no framing, whatever the others have.
pub fn what_a_port_speaks_is_seen_in_its_settings(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    for bytes in [&b"\0\0\0\x09abc"[..], b"GET / HTTP/1.1\r\n", b"*1\r\n"] {
        lab.puppet.echo(bytes)?;
    }
    let refused = |fallible: Fallible<Client>| fallible.map(drop);
    refused(lab.connect("length"))
}
