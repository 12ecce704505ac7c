//! What a port serves, as the port sees it: sessions, listeners, links. `flow/` implements it.

use std::io;
use std::sync::Arc;

use super::batch::Outgoing;
use super::contract::{Bits, Sockets};
use super::core::PortCore;
use super::worker::TurnCx;
use crate::session::core::FlushState;
use crate::time::Time;

/// In place of a network's index: a strand.
pub(crate) const STRAND: usize = usize::MAX;
/// In place of a network's index: a job, a timer, something of the port's own.
pub(crate) const JOB: usize = usize::MAX - 1;

/// Something with a token, a place in a lane, and work to do.
///
/// Who calls what: [`Self::ready`] the worker that harvested, [`Self::turn`] the worker that picked
/// it (one at a time, the word sees to it), [`Self::work`] any worker, [`Self::timer`] the worker
/// that found its deadline passed. The defaults are those of a timer: it has a deadline, and
/// neither a socket nor turns.
pub(crate) trait Served: Send + Sync + 'static {
    /// The backend reported it: note the bits, flush if something waits; if a turn is due, it joins
    /// `due`: what one harvest makes due is queued in one go.
    fn ready(self: Arc<Self>, bits: Bits, now: Time, due: &mut Vec<Arc<dyn Served>>) {
        let _ = (bits, now, due);
    }

    /// Runs one turn. Ends with the word either idle or queued again, and pushed.
    fn turn(self: Arc<Self>, cx: &mut TurnCx<'_>) {
        let _ = cx;
        debug_assert!(false, "it takes no lane");
    }

    /// Port work: no user code, never blocks, a small budget (R6).
    fn work(self: Arc<Self>, now: Time) {
        let _ = now;
    }

    /// Port work of many at once, its first half: what it wants written, or `None` if it needs no
    /// write or has done all of its work. Until [`Self::end_write`] it holds its flush right.
    fn begin_write(self: Arc<Self>, now: Time) -> Option<Outgoing> {
        self.work(now);
        None
    }

    /// The second half: how the write that it wanted ended.
    fn end_write(self: Arc<Self>, held: FlushState, wrote: io::Result<usize>, now: Time) {
        let _ = (held, wrote, now);
        debug_assert!(false, "it wanted none");
    }

    /// The calls on its socket; `None` if it has none.
    fn sockets(&self) -> Option<&Arc<dyn Sockets>> {
        None
    }

    /// Its deadline has passed, or an earlier one that no longer holds: acts or arms again.
    fn timer(self: Arc<Self>, now: Time);

    /// The port of its socket; `None` if it has none.
    fn home(&self) -> Option<&Arc<PortCore>> {
        None
    }

    /// Whose workers run its turns; `None` if it has none.
    fn turns(&self) -> Option<&PortCore> {
        None
    }

    /// The lane of its turns.
    fn lane(&self) -> usize {
        0
    }

    /// Who it is, for the watchdog and for a network that stops: session id (0 for none) and
    /// network index. Or its token and [`STRAND`]; or [`JOB`].
    fn identity(&self) -> (u64, usize) {
        (0, JOB)
    }

    /// The network it belongs to; `None` if it is the port's own.
    fn network(&self) -> Option<usize> {
        let (_, network) = self.identity();
        (network < JOB).then_some(network)
    }

    /// What it is, in words, if it is no session's: for the watchdog as well.
    fn what(&self) -> Option<String> {
        None
    }

    /// Its network or host stops: ends in good order, or at once.
    fn shutdown(self: Arc<Self>, abort: bool) {
        let _ = abort;
    }

    /// The queue of its port has failed, so nothing reports its socket any more: ends at once.
    fn unreported(self: Arc<Self>, why: io::ErrorKind) {
        let _ = why;
    }

    /// Ends at once to give back the memory that it holds.
    fn shed(self: Arc<Self>) {}

    /// The port has stopped and no worker is left: lets go of the socket and of user state.
    fn discard(self: Arc<Self>);
}
