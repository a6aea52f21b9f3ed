//! Post: what one thread of a process leaves for another one to take.
//!
//! It lives on the heap of one process; between processes messages go through `ipc`.

use crossbeam_queue::SegQueue;

/// A queue that any thread fills and one empties. What bounds it is what is put in: an acceptor
/// posts connections, of which there are at most `max_connection`.
#[derive(Debug)]
pub struct Post<T> {
    jobs: SegQueue<T>,
}

impl<T> Default for Post<T> {
    fn default() -> Self {
        Self { jobs: SegQueue::new() }
    }
}

impl<T> Post<T> {
    /// Leaves `job`.
    pub fn push(&self, job: T) {
        self.jobs.push(job);
    }

    /// Takes the oldest job.
    pub fn pop(&self) -> Option<T> {
        self.jobs.pop()
    }
}
