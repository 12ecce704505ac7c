//! What the running thread is doing: in which turn it is, and where frames sent meanwhile gather.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::{PortCore, WorkerSlot};
use super::served::Served;

/// The session whose turn runs on this thread, and what it has sent to itself.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// A turn runs: of a session, a strand or a job.
    runs: bool,
    /// Id of the session in turn; 0 outside a turn.
    session: u64,
    /// Replies to the session in turn, built here and written once (R9).
    pub(crate) out: Vec<u8>,
    /// Whole frames in `out`.
    pub(crate) frames: usize,
    /// Where user code encodes a frame before it joins `out`.
    pub(crate) scratch: Vec<u8>,
}

struct Current {
    worker: Option<Here>,
    /// The nice value of the running turn, if it is not its port's.
    turn_nice: Option<i32>,
    /// Open `batch` calls of a thread that is no worker, and what they gathered.
    batches: usize,
    /// By session id, which gives the flushes an order that a seed replays.
    gathered: BTreeMap<u64, Arc<dyn Served>>,
}

/// The worker that runs a thread.
pub(crate) struct Here {
    port: Arc<PortCore>,
    slot: Arc<WorkerSlot>,
}

thread_local! {
    static CURRENT: RefCell<Current> = const {
        RefCell::new(Current {
            worker: None,
            turn_nice: None,
            batches: 0,
            gathered: BTreeMap::new(),
        })
    };
    static TURN: RefCell<Turn> = const {
        RefCell::new(Turn {
            runs: false,
            session: 0,
            out: Vec::new(),
            frames: 0,
            scratch: Vec::new(),
        })
    };
}

/// Sessions that one `batch` gathers before it flushes on the way.
const GATHERED_MAX: usize = 1024;

/// This thread is the worker of `port` with this slot from now on. Returns what it was.
pub(crate) fn enter(port: &Arc<PortCore>, slot: &Arc<WorkerSlot>) -> Option<Here> {
    let (port, slot) = (Arc::clone(port), Arc::clone(slot));
    back_to(Some(Here { port, slot }))
}

/// This thread is again what it was, or (with `None`) no worker. Returns what it was in between.
pub(crate) fn back_to(was: Option<Here>) -> Option<Here> {
    CURRENT.with_borrow_mut(|current| std::mem::replace(&mut current.worker, was))
}

/// Whether this thread is a worker of any port: it must not wait for workers then.
pub(crate) fn is_worker() -> bool {
    CURRENT.with_borrow(|current| current.worker.is_some())
}

impl Here {
    fn is_of(&self, port: &PortCore) -> bool {
        std::ptr::eq(&raw const *self.port, port)
    }
}

/// Calls with the slot of this thread, if it is a worker of `port`.
pub(crate) fn with_slot_of<R>(port: &PortCore, use_it: impl FnOnce(Option<&WorkerSlot>) -> R) -> R {
    CURRENT.with_borrow(|current| {
        let here = current.worker.as_ref().filter(|here| here.is_of(port));
        use_it(here.map(|here| &*here.slot))
    })
}

/// The nice value of this thread, if it is a worker; of others nothing is known.
pub(crate) fn nice() -> i32 {
    CURRENT.with_borrow(|current| {
        let of_port = || current.worker.as_ref().map_or(0, |here| here.port.nice);
        current.turn_nice.unwrap_or_else(of_port)
    })
}

/// The running turn has a nice value of its own, or (with `None`) no more.
pub(crate) fn set_turn_nice(nice: Option<i32>) {
    CURRENT.with_borrow_mut(|current| current.turn_nice = nice);
}

/// The turn of `session` begins or (with 0) ends on this thread.
pub(crate) fn set_turn(session: u64) {
    TURN.with_borrow_mut(|turn| {
        turn.runs = session != 0;
        turn.session = session;
    });
}

/// The turn of a strand or a job begins or ends on this thread: what it sends gathers as in any
/// turn, and no session is its own.
pub(crate) fn set_job_turn(runs: bool) {
    TURN.with_borrow_mut(|turn| turn.runs = runs);
}

/// What the turn on this thread has built, if it is a turn of `session`.
pub(crate) fn with_turn_of<R>(session: u64, use_it: impl FnOnce(&mut Turn) -> R) -> Option<R> {
    TURN.with_borrow_mut(|turn| (turn.session == session).then(|| use_it(turn)))
}

/// The buffer in which this thread encodes single frames; empty-handed while it is taken.
pub(crate) fn take_scratch() -> Vec<u8> {
    TURN.with_borrow_mut(|turn| std::mem::take(&mut turn.scratch))
}

/// Gives the buffer back.
pub(crate) fn keep_scratch(scratch: Vec<u8>) {
    TURN.with_borrow_mut(|turn| turn.scratch = scratch);
}

/// Where the sends of a thread gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathering {
    /// In the running turn, on this list (its address): flushed at the turn's end, or by a sibling
    /// if it gets stuck.
    Turn(usize),
    /// In a `batch` of a thread that is no worker: flushed at its end.
    Batch,
    /// Nowhere.
    Nothing,
}

/// Where the sends of this thread gather now.
pub(crate) fn gathering() -> Gathering {
    let in_turn = TURN.with_borrow(|turn| turn.runs);
    CURRENT.with_borrow(|current| match &current.worker {
        Some(here) if in_turn => Gathering::Turn(Arc::as_ptr(&here.slot).addr()),
        _ if current.batches > 0 => Gathering::Batch,
        _ => Gathering::Nothing,
    })
}

/// Keeps `item` for the end of the running turn.
pub(crate) fn gather_in_turn(item: Arc<dyn Served>) {
    CURRENT.with_borrow(|current| {
        if let Some(Here { port, slot }) = &current.worker {
            slot.gathered.store(true, Ordering::Relaxed);
            let mut dirty = slot.dirty.lock();
            dirty.push(item);
            if dirty.len() == 1 {
                drop(dirty);
                port.watch_dirty();
            }
        }
    });
}

/// Keeps `item`, once, for the end of the batch; false if that has gathered enough.
pub(crate) fn gather_in_batch(item: Arc<dyn Served>) -> bool {
    CURRENT.with_borrow_mut(|current| {
        // A list of its own and no mark on the session: a batch may take its time, and nobody
        // else's frames may wait for it.
        let (session, _) = item.identity();
        if current.gathered.contains_key(&session) {
            return true;
        }
        let fits = current.gathered.len() < GATHERED_MAX;
        if fits {
            current.gathered.insert(session, item);
        }
        fits
    })
}

/// What the worker that runs this thread has gathered so far.
pub(crate) fn take_dirty() -> Vec<Arc<dyn Served>> {
    CURRENT.with_borrow(|current| match &current.worker {
        Some(here) => std::mem::take(&mut *here.slot.dirty.lock()),
        None => Vec::new(),
    })
}

/// A batch begins on this thread.
pub(crate) fn begin_batch() {
    CURRENT.with_borrow_mut(|current| current.batches += 1);
}

/// A batch ends on this thread: what it gathered, if it was the outermost.
pub(crate) fn end_batch() -> impl ExactSizeIterator<Item = Arc<dyn Served>> {
    let gathered = CURRENT.with_borrow_mut(|current| {
        current.batches -= 1;
        if current.batches == 0 {
            std::mem::take(&mut current.gathered)
        } else {
            BTreeMap::new()
        }
    });
    gathered.into_values()
}
