//! The program's own descriptors in the loop of a unit.

use crate::api::*;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::place::{end, play_everywhere, Place};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// The manager watches its children, and nothing of the program.
fn is_refused(server: Handle, place: Place) -> bool {
    if place != Place::Manager {
        return false;
    }
    let (reader, _writer) = pipe();
    let fd = reader.as_raw_fd();
    assert_eq!(refusal(add(fd, SW_IO_READ, |_, _| {})), SW_ERROR_OPERATION_NOT_SUPPORT);
    assert_eq!(refusal(set(fd, SW_IO_READ)), SW_ERROR_OPERATION_NOT_SUPPORT);
    assert_eq!(refusal(del(fd)), SW_ERROR_OPERATION_NOT_SUPPORT);
    assert!(!is_nonblocking(fd));
    end(server, place);
    true
}

/// A blocking pipe: the end to read, the end to write.
pub fn pipe() -> (File, File) {
    let mut fds = [0; 2];
    // SAFETY: the array has room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both were just made and belong to nobody else.
    unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) }
}

fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: plain system call, which takes no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

pub fn read_a_pipe(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let (mut reader, mut writer) = pipe();
        let fd = reader.as_raw_fd();
        let (mut call_count, mut read) = (0, Vec::new());
        add(fd, SW_IO_READ, move |called_for, events| {
            assert_eq!((called_for, events), (fd, SW_IO_READ));
            call_count += 1;
            // Nothing is read at first, then byte by byte, then the end.
            let mut byte = [0];
            if call_count > 5 && reader.read(&mut byte).expect("a read") == 1 {
                read.push(byte[0]);
            } else if call_count > 5 {
                assert_eq!(read, b"hello");
                assert_eq!(call_count, 11);
                del(fd).expect("an end in its own callback");
                after(server, 20, move |_| end(server, place)).expect("a timer");
            }
        })
        .expect("a pipe");
        assert!(is_nonblocking(fd));
        defer(server, move || writer.write_all(b"hello").expect("a write")).expect("a call");
    })
}

pub fn write_and_change(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let fd = near.as_raw_fd();
        let mut call_count = 0;
        add(fd, SW_IO_WRITE, move |_, events| {
            call_count += 1;
            match call_count {
                1..=99 => assert_eq!(events, SW_IO_WRITE),
                100 => {
                    set(fd, SW_IO_READ).expect("a change");
                    far.write_all(b"x").expect("a write");
                }
                101 => {
                    assert_eq!(events, SW_IO_READ);
                    set(fd, SW_IO_READ | SW_IO_WRITE).expect("a change");
                }
                102 => {
                    assert_eq!(events, SW_IO_READ | SW_IO_WRITE);
                    let mut byte = [0];
                    assert_eq!((&near).read(&mut byte).expect("a byte"), 1);
                }
                103 => {
                    assert_eq!(events, SW_IO_WRITE);
                    del(fd).expect("an end in its own callback");
                    after(server, 20, move |_| end(server, place)).expect("a timer");
                }
                _ => panic!("called after it was removed"),
            }
        })
        .expect("a socket");
    })
}

pub fn make_mistakes(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let (reader, _writer) = pipe();
        let fd = reader.as_raw_fd();
        for events in [0, 1, 256, SW_IO_READ | 1, SW_IO_READ | 2048, i32::MIN, -1] {
            assert_eq!(refusal(add(fd, events, |_, _| {})), SW_ERROR_INVALID_PARAMS);
            assert_eq!(refusal(set(fd, events)), SW_ERROR_INVALID_PARAMS);
        }
        assert_eq!(refusal(set(fd, SW_IO_READ)), SW_ERROR_EVENT_UPDATE_FAILED);
        assert_eq!(refusal(del(fd)), SW_ERROR_EVENT_REMOVE_FAILED);
        assert!(!is_nonblocking(fd));
        add(fd, SW_IO_READ, |_, _| panic!("nothing was written")).expect("a pipe");
        let twice = refusal(add(fd, SW_IO_READ, |_, _| panic!("refused")));
        assert_eq!(twice, SW_ERROR_EVENT_ADD_FAILED);
        assert_eq!(refusal(set(fd, 0)), SW_ERROR_INVALID_PARAMS);
        del(fd).expect("it is watched");
        assert_eq!(refusal(del(fd)), SW_ERROR_EVENT_REMOVE_FAILED);
        add(fd, SW_IO_READ, |_, _| panic!("nothing was written")).expect("a pipe, again");
        del(fd).expect("it is watched");
        for nothing in [-1, i32::MIN, i32::MAX] {
            assert_eq!(refusal(add(nothing, SW_IO_READ, |_, _| {})), libc::EBADF);
            assert_eq!(refusal(del(nothing)), SW_ERROR_EVENT_REMOVE_FAILED);
        }
        let file = File::open("/proc/self/exe").expect("a file");
        assert_eq!(refusal(add(file.as_raw_fd(), SW_IO_READ, |_, _| {})), libc::EPERM);
        assert!(!is_nonblocking(file.as_raw_fd()));
        end(server, place);
    })
}

/// Two sockets that are ready in one round. The callback that comes first changes the other.
fn first_changes_other(change: impl Fn(RawFd) + 'static, on_other: impl Fn(i32) + 'static) {
    let pairs = [UnixStream::pair().expect("a pair"), UnixStream::pair().expect("a pair")];
    let fds = [pairs[0].0.as_raw_fd(), pairs[1].0.as_raw_fd()];
    for (near, far) in pairs {
        (&far).write_all(b"x").expect("a write");
        // They stay as they are until the test says otherwise.
        std::mem::forget((near, far));
    }
    let first = Rc::new(Cell::new(None));
    let change = Rc::new(change);
    let on_other = Rc::new(on_other);
    for (fd, other) in [(fds[0], fds[1]), (fds[1], fds[0])] {
        let (first, change, on_other) = (first.clone(), change.clone(), on_other.clone());
        let call = move |_: RawFd, events: i32| match first.get() {
            None => {
                first.set(Some(fd));
                assert_eq!(events, SW_IO_READ);
                del(fd).expect("an end in its own callback");
                change(other);
            }
            Some(_) => on_other(events),
        };
        add(fd, SW_IO_READ, call).expect("a socket");
    }
}

pub fn change_what_is_ready(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let changed = Rc::new(Cell::new(-1));
        let told = Rc::clone(&changed);
        let change = move |other| {
            set(other, SW_IO_WRITE).expect("a change");
            changed.set(other);
        };
        first_changes_other(change, move |events| {
            assert_eq!(events, SW_IO_WRITE, "told of what it is not watched for");
            del(told.get()).expect("an end in its own callback");
            end(server, place);
        });
    })
}

pub fn remove_what_is_ready(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let change = move |other| {
            del(other).expect("it is watched");
            after(server, 20, move |_| end(server, place)).expect("a timer");
        };
        first_changes_other(change, |_| panic!("called after it was removed"));
    })
}

/// The number of a descriptor that was ready is given to one that is not, within one round.
pub fn replace_what_is_ready(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let change = move |other| {
            del(other).expect("it is watched");
            let (quiet, writer) = pipe();
            // SAFETY: the number belongs to a socket of this scene that nobody closes.
            assert_eq!(unsafe { libc::dup2(quiet.as_raw_fd(), other) }, other);
            add(other, SW_IO_READ, |_, _| panic!("the event was for another")).expect("a pipe");
            let finish = move |_| {
                del(other).expect("it is watched");
                assert!(!writer.metadata().expect("it is open").is_file());
                end(server, place);
            };
            after(server, 20, finish).expect("a timer");
        };
        first_changes_other(change, |_| panic!("called after it was removed"));
    })
}

/// A hundred descriptors, each with its own callback and user data.
pub fn watch_many(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        if is_refused(server, place) {
            return;
        }
        let seen = Rc::new(RefCell::new(Vec::new()));
        for number in 0..100_u8 {
            let (mut reader, mut writer) = pipe();
            let fd = reader.as_raw_fd();
            let seen = Rc::clone(&seen);
            writer.write_all(&[number]).expect("a write");
            let call = move |fd, _| {
                let mut byte = [0];
                reader.read_exact(&mut byte).expect("a byte");
                assert_eq!(byte, [number]);
                del(fd).expect("an end in its own callback");
                seen.borrow_mut().push(number);
                if seen.borrow().len() == 100 {
                    seen.borrow_mut().sort_unstable();
                    assert!(seen.borrow().iter().copied().eq(0..100));
                    end(server, place);
                }
            };
            add(fd, SW_IO_READ, call).expect("a pipe");
        }
    })
}
