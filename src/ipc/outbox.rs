//! The writing end of a unit: a way to every other unit.
//!
//! [`Outbox::post`] never blocks and drops nothing: what finds no room waits in a private queue
//! for its target, in order. The unit's loop calls [`Outbox::flush`] after each batch: it
//! publishes what waits, and tells the readers of everything that was published, each once. When
//! a lane is full its reader rings this unit, so that the loop flushes again.

use std::collections::VecDeque;
use std::ops::Range;

use super::lane::{Grant, LaneWriter, Writer};
use super::message::{Header, Mark};
use super::pending::{Laid, Parts, Pending, Progress};
use super::shared_lane::SharedLaneWriter;
use super::sync::{fence, Ordering};
use super::wiring::Wiring;

/// The lane that leads to one unit.
pub(super) enum Lane {
    /// This unit's own.
    Own(LaneWriter),
    /// The one that all may write to.
    Shared(SharedLaneWriter),
}

impl Writer for Lane {
    #[inline]
    fn max_payload(&self) -> usize {
        match self {
            Lane::Own(lane) => lane.max_payload(),
            Lane::Shared(lane) => lane.max_payload(),
        }
    }

    #[inline]
    fn put(
        &mut self,
        header: &Header,
        mark: Mark,
        size: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        match self {
            Lane::Own(lane) => lane.put(header, mark, size, fill),
            Lane::Shared(lane) => lane.put(header, mark, size, fill),
        }
    }
}

/// The way to one unit.
struct Route {
    lane: Lane,
    /// The lane's bit at the reader.
    bit: u16,
    is_dirty: bool,
    pending: VecDeque<Pending>,
}

/// The writing end.
pub struct Outbox {
    wiring: Wiring,
    unit: u16,
    writer: u64,
    routes: Vec<Route>,
    /// Units with published messages that they were not told of.
    dirty: Vec<u16>,
    /// Units with messages that wait for room.
    blocked: Vec<u16>,
    pending_bytes: usize,
    /// Messages that count in their lanes when they are there.
    pending_tally: u64,
    /// Units that this one does not wait for, whatever waits for them here.
    patient: Range<u16>,
}

/// A place for one payload in the lane to a unit. Dropping it sends nothing.
pub struct Reserved<'a> {
    grant: Grant<'a>,
    is_dirty: &'a mut bool,
    dirty: &'a mut Vec<u16>,
    to: u16,
}

impl Reserved<'_> {
    /// Sends the first `len` bytes.
    #[inline]
    pub fn publish(self, header: &Header, len: usize) {
        self.grant.publish(header, Mark::Whole, len);
        mark_dirty(self.is_dirty, self.dirty, self.to);
    }
}

impl std::ops::Deref for Reserved<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.grant
    }
}

impl std::ops::DerefMut for Reserved<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.grant
    }
}

#[inline]
fn mark_dirty(is_dirty: &mut bool, dirty: &mut Vec<u16>, to: u16) {
    if !*is_dirty {
        *is_dirty = true;
        dirty.push(to);
    }
}

impl Outbox {
    pub(super) fn new(
        wiring: Wiring,
        unit: u16,
        writer: u64,
        lanes: Vec<SharedLaneWriter>,
    ) -> Self {
        let count = lanes.len();
        let route = |lane| Route {
            lane: Lane::Shared(lane),
            bit: 0,
            is_dirty: false,
            pending: VecDeque::new(),
        };
        Self {
            wiring,
            unit,
            writer,
            routes: lanes.into_iter().map(route).collect(),
            dirty: Vec::with_capacity(count),
            blocked: Vec::with_capacity(count),
            pending_bytes: 0,
            pending_tally: 0,
            patient: 0..0,
        }
    }

    /// Sends to `to` through another lane from now on.
    pub(super) fn use_lane(&mut self, to: u16, lane: Lane, bit: u16) {
        if let Some(route) = self.routes.get_mut(usize::from(to)) {
            (route.lane, route.bit) = (lane, bit);
        }
    }

    /// Tells every unit that both lanes to it may have something.
    pub(super) fn announce_all(&mut self) {
        for (index, route) in self.routes.iter_mut().enumerate() {
            let to = index as u16;
            if let Some(ready) = self.wiring.ready(to) {
                ready.announce(0);
            }
            mark_dirty(&mut route.is_dirty, &mut self.dirty, to);
        }
        self.ring_dirty();
    }

    /// Sends a message whose payload lies in `parts`; the header's size is filled in. It is
    /// published now, or waits for room behind the others to the same unit. False: there is no
    /// such unit, the payload has 4 GiB or more, or no memory is left to keep it.
    #[inline]
    pub fn post(&mut self, to: u16, header: &Header, parts: &[&[u8]]) -> bool {
        let Some(route) = self.routes.get_mut(usize::from(to)) else { return false };
        let size = parts.iter().map(|part| part.len()).sum::<usize>();
        let Ok(total) = u32::try_from(size) else { return false };
        let mut parts = Parts::new(parts);
        let mut progress = Progress { header: *header, writer: self.writer, total, sent: 0 };
        if route.pending.is_empty() {
            let wiring = &self.wiring;
            let laid = progress.lay(&mut route.lane, &mut parts, || wiring.takes_pieces(to));
            if laid != Laid::Nothing {
                mark_dirty(&mut route.is_dirty, &mut self.dirty, to);
            }
            if laid == Laid::All {
                return true;
            }
        }
        self.keep(to, progress, parts)
    }

    #[cold]
    fn keep(&mut self, to: u16, progress: Progress, mut parts: Parts<'_>) -> bool {
        let Some(route) = self.routes.get_mut(usize::from(to)) else { return false };
        let Ok(pending) = Pending::copy(progress, &mut parts) else { return false };
        if route.pending.is_empty() {
            self.blocked.push(to);
        }
        self.pending_bytes += pending.left();
        self.pending_tally += u64::from(pending.is_tallied());
        route.pending.push_back(pending);
        true
    }

    /// A place for `min` to `max` payload bytes straight in this unit's own lane to `to`. `None`:
    /// messages wait before it, there is no room (the reader rings when there is), there is no own
    /// lane, or `min` is more than a quarter of it.
    #[inline]
    pub fn reserve(&mut self, to: u16, min: usize, max: usize) -> Option<Reserved<'_>> {
        let route = self.routes.get_mut(usize::from(to))?;
        let Lane::Own(lane) = &mut route.lane else { return None };
        if !route.pending.is_empty() {
            return None;
        }
        let grant = lane.reserve(min, max)?;
        Some(Reserved { grant, is_dirty: &mut route.is_dirty, dirty: &mut self.dirty, to })
    }

    /// The greatest payload that travels to `to` in one piece.
    pub fn max_payload(&self, to: u16) -> usize {
        self.routes.get(usize::from(to)).map_or(0, |route| route.lane.max_payload())
    }

    /// Messages to `to` wait for room.
    #[inline]
    pub fn is_blocked(&self, to: u16) -> bool {
        self.routes.get(usize::from(to)).is_some_and(|route| !route.pending.is_empty())
    }

    /// Messages to anybody wait for room.
    #[inline]
    pub fn has_pending(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Does not wait for these units from now on: see [`Outbox::is_held_up`].
    pub fn leave_waiting(&mut self, units: Range<u16>) {
        self.patient = units;
    }

    /// Messages wait for room, to others than those that this unit does not wait for.
    #[inline]
    pub fn is_held_up(&self) -> bool {
        self.blocked.iter().any(|to| !self.patient.contains(to))
    }

    /// Takes back the last message to `to`, which waits for room. Of one in pieces some may be
    /// there; its reader drops them.
    pub fn withdraw(&mut self, to: u16) {
        let Some(route) = self.routes.get_mut(usize::from(to)) else { return };
        if let Some(pending) = route.pending.pop_back() {
            self.pending_bytes -= pending.left();
            self.pending_tally -= u64::from(pending.is_tallied());
        }
        if route.pending.is_empty() {
            self.blocked.retain(|blocked| *blocked != to);
        }
    }

    /// Messages that wait for room and that will be counted in their lanes.
    #[inline]
    pub fn pending_tally(&self) -> u64 {
        self.pending_tally
    }

    /// Payload bytes that wait for room.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Bytes in the lane to a unit that it has not read.
    pub fn unread_bytes(&self, to: u16) -> u64 {
        self.routes.get(usize::from(to)).map_or(0, |route| match &route.lane {
            Lane::Own(lane) => lane.unread_bytes(),
            Lane::Shared(lane) => lane.unread_bytes(),
        })
    }

    /// Gives up what waits for units that read no more; how many messages that were.
    pub fn forget(&mut self, is_gone: impl Fn(u16) -> bool) -> usize {
        let mut count = 0;
        let Self { blocked, routes, pending_bytes, pending_tally, .. } = self;
        blocked.retain(|to| {
            let route = routes.get_mut(usize::from(*to)).filter(|_| is_gone(*to));
            let lost = route.map_or_else(VecDeque::new, |route| std::mem::take(&mut route.pending));
            *pending_bytes -= lost.iter().map(Pending::left).sum::<usize>();
            *pending_tally -= lost.iter().filter(|lost| lost.is_tallied()).count() as u64;
            count += lost.len();
            lost.is_empty()
        });
        count
    }

    /// Publishes what waits, as far as there is room, and tells the readers.
    pub fn flush(&mut self) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|to| self.retry(*to));
        self.blocked = blocked;
        self.ring_dirty();
    }

    /// Publishes what waits for one unit; true if some still does.
    fn retry(&mut self, to: u16) -> bool {
        let Some(route) = self.routes.get_mut(usize::from(to)) else { return false };
        while let Some(pending) = route.pending.front_mut() {
            let before = pending.left();
            let laid = pending.lay(&mut route.lane, || self.wiring.takes_pieces(to));
            if laid != Laid::Nothing {
                mark_dirty(&mut route.is_dirty, &mut self.dirty, to);
            }
            if laid != Laid::All {
                self.pending_bytes -= before - pending.left();
                return true;
            }
            self.pending_bytes -= before;
            self.pending_tally -= u64::from(pending.is_tallied());
            route.pending.pop_front();
        }
        false
    }

    fn ring_dirty(&mut self) {
        for to in &self.dirty {
            let route = self.routes.get_mut(usize::from(*to));
            if let (Some(route), Some(ready)) = (route, self.wiring.ready(*to)) {
                route.is_dirty = false;
                ready.announce(usize::from(route.bit));
            }
        }
        if self.dirty.is_empty() {
            return;
        }
        // Pairs with the fence in `ReadyWords::prepare_sleep`.
        fence(Ordering::SeqCst);
        for to in self.dirty.drain(..) {
            if self.wiring.ready(to).is_some_and(|ready| ready.take_asleep()) {
                self.wiring.ring(to);
            }
        }
    }

    /// Flushes until nothing waits, asleep in between; false when the deadline (monotonic, in ns)
    /// has come first. For a unit that is about to end.
    pub fn flush_blocking(&mut self, deadline_ns: u64) -> bool {
        self.wait_until(deadline_ns, |outbox| {
            outbox.flush();
            !outbox.has_pending()
        })
    }

    /// Waits until nothing waits for room to one unit; false when the deadline has come first.
    pub fn wait_for(&mut self, to: u16, deadline_ns: u64) -> bool {
        self.wait_until(deadline_ns, |outbox| {
            outbox.flush();
            !outbox.is_blocked(to)
        })
    }

    /// As [`Outbox::wait_for`], and only as long as that is wanted; when it is not any more, this
    /// unit is called.
    pub fn wait_while(&mut self, to: u16, deadline_ns: u64, is_wanted: impl Fn() -> bool) -> bool {
        let is_over = |outbox: &mut Self| {
            outbox.flush();
            !outbox.is_blocked(to) || !is_wanted()
        };
        self.wait_until(deadline_ns, is_over) && !self.is_blocked(to)
    }

    /// Leaves this unit's own lanes to its successor: waits until they are published and read, so
    /// that nothing sent later overtakes them, and uses the shared lanes from then on. What waits
    /// for room in a shared lane goes on waiting there. False: the deadline (monotonic, in ns) came
    /// first, and the lanes are still this process's: the rest of a message whose first pieces lie
    /// there must come behind them.
    pub fn hand_over(&mut self, deadline_ns: u64) -> bool {
        let is_read = self.wait_until(deadline_ns, |outbox| {
            outbox.flush();
            outbox.routes.iter_mut().all(Route::is_handed_over)
        });
        if !is_read {
            return false;
        }
        for (index, route) in self.routes.iter_mut().enumerate() {
            let shared = self.wiring.shared_writer(self.unit, index as u16);
            if let (Lane::Own(_), Some(shared)) = (&route.lane, shared) {
                (route.lane, route.bit) = (Lane::Shared(shared), 0);
            }
        }
        true
    }

    fn wait_until(&mut self, deadline_ns: u64, mut is_done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            let calls = self.wiring.bell(self.unit).map_or(0, |bell| bell.calls());
            if is_done(self) {
                return true;
            }
            let bell = self.wiring.bell(self.unit);
            if !bell.is_some_and(|bell| bell.wait_for_call(calls, deadline_ns)) {
                return false;
            }
        }
    }
}

impl Route {
    /// Everything for this unit's own lane is published and has been read; if not, its reader calls
    /// when it has.
    fn is_handed_over(&mut self) -> bool {
        match &mut self.lane {
            Lane::Own(lane) => {
                lane.want_room();
                self.pending.is_empty() && lane.is_drained()
            }
            Lane::Shared(_) => true,
        }
    }
}
