//! A System V message queue: it outlives the processes that use it, until somebody removes it.

use std::io;
use std::ptr;

use nix::errno::Errno;

use super::{checked, retried};

/// The most bytes of one message, as most systems are set up.
pub const LONGEST_MESSAGE: usize = 8192;

/// A message as the calls want it: its type, then its bytes.
#[repr(C)]
struct Form {
    kind: libc::c_long,
    bytes: [u8; LONGEST_MESSAGE],
}

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageQueue {
    id: libc::c_int,
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub messages: u64,
    pub bytes: u64,
}

impl MessageQueue {
    /// The queue with this key, made if there is none; 0 always makes one that has no key.
    pub fn open(key: i64) -> io::Result<Self> {
        // A key has 32 bits; the others do not count, as in the reference.
        let flags = libc::IPC_CREAT | 0o600;
        // SAFETY: plain system call.
        let id = checked(unsafe { libc::msgget(key as libc::key_t, flags) })?;
        Ok(Self { id })
    }

    /// Puts a message behind the others, waiting for room. `kind` is 1 or more.
    pub fn send(&self, kind: i64, bytes: &[u8]) -> io::Result<()> {
        let mut form = Form { kind: kind as libc::c_long, bytes: [0; LONGEST_MESSAGE] };
        let Some(place) = form.bytes.get_mut(..bytes.len()) else {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        };
        place.copy_from_slice(bytes);
        // SAFETY: the form has a type and at least so many bytes, and outlives the call.
        retried(|| unsafe { libc::msgsnd(self.id, ptr::addr_of!(form).cast(), bytes.len(), 0) })?;
        Ok(())
    }

    /// Takes the first message of a type, or of any if that is 0; `None`: there is none. What is
    /// longer than the buffer is cut off.
    pub fn take(&self, kind: i64, buffer: &mut Vec<u8>) -> io::Result<Option<()>> {
        let mut form = Form { kind: 0, bytes: [0; LONGEST_MESSAGE] };
        let flags = libc::IPC_NOWAIT | libc::MSG_NOERROR;
        let place = ptr::addr_of_mut!(form).cast();
        // SAFETY: the form has room for a type and so many bytes, and outlives the call.
        let call = || unsafe {
            libc::msgrcv(self.id, place, LONGEST_MESSAGE, kind as libc::c_long, flags)
        };
        let len = match retried(call) {
            Ok(len) => usize::try_from(len).unwrap_or(0),
            Err(cause) if cause.raw_os_error() == Some(libc::ENOMSG) => return Ok(None),
            Err(cause) => return Err(cause),
        };
        buffer.clear();
        buffer.extend_from_slice(form.bytes.get(..len).unwrap_or_default());
        Ok(Some(()))
    }

    /// What the system knows of it.
    fn told(&self) -> io::Result<libc::msqid_ds> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut told: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the place outlives the call.
        checked(unsafe { libc::msgctl(self.id, libc::IPC_STAT, &mut told) })?;
        Ok(told)
    }

    /// What waits.
    pub fn waiting(&self) -> io::Result<Waiting> {
        let told = self.told()?;
        Ok(Waiting { messages: told.msg_qnum, bytes: told.__msg_cbytes })
    }

    /// The most bytes that it takes. A message of more would wait for ever.
    pub fn capacity(&self) -> io::Result<u64> {
        Ok(self.told()?.msg_qbytes)
    }

    /// Lets a user and a group use it as well; whoever made it still can.
    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        let mut told = self.told()?;
        told.msg_perm.uid = user;
        told.msg_perm.gid = group;
        // SAFETY: the place outlives the call, and holds what the system has told.
        checked(unsafe { libc::msgctl(self.id, libc::IPC_SET, &mut told) })?;
        Ok(())
    }

    /// Removes it, for everybody. One that is gone already is no error.
    pub fn remove(&self) -> io::Result<()> {
        // SAFETY: nothing is read or written by this command.
        match checked(unsafe { libc::msgctl(self.id, libc::IPC_RMID, ptr::null_mut()) }) {
            Err(cause) if is_gone(&cause) => Ok(()),
            result => result.map(drop),
        }
    }
}

/// Whether an error says that there is no such queue any more.
pub fn is_gone(cause: &io::Error) -> bool {
    [Errno::EIDRM, Errno::EINVAL].iter().any(|gone| cause.raw_os_error() == Some(*gone as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_by_type_or_in_order() {
        let queue = MessageQueue::open(0).unwrap();
        for (kind, text) in [(2, "a"), (1, "b"), (2, "")] {
            queue.send(kind, text.as_bytes()).unwrap();
        }
        assert_eq!(queue.waiting().unwrap(), Waiting { messages: 3, bytes: 2 });
        let mut buffer = Vec::new();
        let mut take = |kind| queue.take(kind, &mut buffer).unwrap().map(|()| buffer.clone());
        assert_eq!(take(1), Some(b"b".to_vec()));
        assert_eq!(take(1), None);
        assert_eq!(take(0), Some(b"a".to_vec()));
        assert_eq!(take(0), Some(Vec::new()));
        assert_eq!(take(0), None);
        queue.remove().unwrap();
        queue.remove().unwrap();
        assert!(is_gone(&queue.take(0, &mut buffer).unwrap_err()));
        assert!(queue.send(1, &[0; LONGEST_MESSAGE + 1]).is_err());
    }
}
