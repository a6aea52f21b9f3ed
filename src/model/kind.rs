//! The kinds of message that units send each other.
//!
//! Every message about a connection names its session. What else it carries is said beside its
//! kind; `extra` and the payload are those of the message header.

use crate::ipc::message::TALLIED;
use crate::proto::framer::Frame;

/// What a message between two units says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// Reactor to worker: a connection was accepted; the payload is the certificate of its peer,
    /// as PEM, or empty.
    Connect = 1,
    /// Reactor to worker: bytes of a connection; `time` is when they arrived, `extra` that of
    /// [`receive`].
    Receive = 2,
    /// Reactor to worker: the peer is gone; `extra` is the `errno` of an abnormal end, else 0.
    Close = 3,
    /// To a reactor: send the payload to the peer.
    Send = 4,
    /// To a reactor: the server closes; the worker's close callback runs now.
    Shut = 5,
    /// To a reactor: the worker is done with the connection; it may be released.
    /// `extra` is 1 if the output that still waits is to be thrown away.
    Closed = 6,
    /// To the reactor of a connection, and from there to its worker: close it for somebody else;
    /// `extra` as for `Closed`.
    CloseFor = 7,
    /// Worker to reactor: this worker has started and reads on; the session is unused. From the
    /// manager: a process has died that may have done something and not said so.
    WorkerReady = 8,
    /// Reactor to worker: a datagram; `time` is when it arrived. `session` is the index of its
    /// port, `extra` how many bytes of the payload, in front, are the address of its sender.
    Packet = 9,
    /// To a reactor: do not read the connection; `extra` is the reason, one of [`hold`].
    Pause = 10,
    /// To a reactor: that reason, in `extra`, is gone. [`hold::NOTHING`]: it was not held, but may
    /// wait for room at a worker that is not its own any more.
    Resume = 11,
    /// Reactor to worker: it was given `extra` bytes of the connection before this message,
    /// whatever became of them in the hands of its predecessor.
    Given = 12,
    /// To a reactor: send a part of a file to the peer; the payload is a `FilePart`.
    SendFile = 13,
    /// To a reactor: a send was refused because too much waits.
    Refused = 14,
    /// Reactor to worker: much waits for the peer.
    BufferFull = 15,
    /// Reactor to worker: little waits again.
    BufferEmpty = 16,
    /// To a reactor: tell the sender of this message when a send would be taken, or never again.
    AwaitRoom = 17,
    /// Reactor to whoever waits: now.
    Room = 18,
    /// Task worker to whoever handed in a task: a result. `session` is the id of the task; flags
    /// and `extra` are those of the task.
    TaskResult = 30,
    /// To whoever handed in a task: it will not be done. As for `TaskResult`; the payload is the
    /// number of the task worker's unit.
    TaskFailed = 31,
    /// To a worker: a message of the program; `session` is the worker id of the sender or -1,
    /// `time` when it was sent.
    Message = 32,
    /// To whom a command is for: `session` is the number of the request, `extra` the command.
    Command = 33,
    /// To the desk: the request with the number in `session` is answered; `extra` is the number of
    /// an error, or 0.
    Reply = 34,
    /// To a task worker: a task. `session` is its id, `extra` what its result is to carry back. It
    /// is counted in its lane.
    Task = TALLIED,
}

/// Why a connection is not read. The numbers are bits: it is read when there is no reason left.
pub mod hold {
    /// It is read.
    pub const NOTHING: u8 = 0;
    /// The program has paused it.
    pub const PAUSED: u8 = 1;
    /// It waits to be confirmed.
    pub const UNCONFIRMED: u8 = 2;
    /// Its worker has too many bytes of it that it has not taken.
    pub const FULL: u8 = 4;
}

impl MessageKind {
    /// The kind with this number, `None` for a number that is none.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Receive,
            3 => Self::Close,
            4 => Self::Send,
            5 => Self::Shut,
            6 => Self::Closed,
            7 => Self::CloseFor,
            8 => Self::WorkerReady,
            9 => Self::Packet,
            10 => Self::Pause,
            11 => Self::Resume,
            12 => Self::Given,
            13 => Self::SendFile,
            14 => Self::Refused,
            15 => Self::BufferFull,
            16 => Self::BufferEmpty,
            17 => Self::AwaitRoom,
            18 => Self::Room,
            30 => Self::TaskResult,
            31 => Self::TaskFailed,
            32 => Self::Message,
            33 => Self::Command,
            34 => Self::Reply,
            TALLIED => Self::Task,
            _ => return None,
        })
    }
}

/// Above the number of the port stands what a WebSocket frame says.
const FRAME_SHIFT: u32 = 32;

/// `extra` of a [`MessageKind::Receive`]: the port of the connection, which is told when that has
/// ended, and the head of a WebSocket frame.
#[inline]
pub fn receive(port: usize, frame: Frame) -> u64 {
    u64::from(port as u32) | u64::from(frame.to_bits()) << FRAME_SHIFT
}

/// Takes that apart.
#[inline]
pub fn read_receive(extra: u64) -> (usize, Frame) {
    (extra as u32 as usize, Frame::from_bits((extra >> FRAME_SHIFT) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_and_its_number_name_each_other() {
        for number in 0..=u8::MAX {
            if let Some(kind) = MessageKind::from_number(number) {
                assert_eq!(kind as u8, number);
            }
        }
        assert_eq!(MessageKind::from_number(0), None);
    }
}
