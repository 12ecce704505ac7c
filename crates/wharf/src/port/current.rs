//! What the running thread is doing: in which turn it is, and where frames sent meanwhile gather.

use std::cell::RefCell;
use std::sync::Arc;

use super::core::PortCore;
use super::served::Served;

/// The session whose turn runs on this thread, and what it has sent to itself.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Id of the session in turn; 0 outside a turn.
    pub(crate) session: u64,
    /// Replies to the session in turn, built here and written once (R9).
    pub(crate) out: Vec<u8>,
    /// Whole frames in `out`.
    pub(crate) frames: u64,
}

struct Current {
    worker: Option<(Arc<PortCore>, usize)>,
    in_turn: bool,
    /// Open `batch` calls of a thread that is no worker, and what they gathered.
    batches: usize,
    gathered: Vec<Arc<dyn Served>>,
}

thread_local! {
    static CURRENT: RefCell<Current> = const {
        RefCell::new(Current { worker: None, in_turn: false, batches: 0, gathered: Vec::new() })
    };
    static TURN: RefCell<Turn> = const {
        RefCell::new(Turn { session: 0, out: Vec::new(), frames: 0 })
    };
}

/// Sessions that one `batch` gathers before it flushes on the way.
const GATHERED_MAX: usize = 1024;

/// This thread is worker `index` of `port` from now on.
pub(crate) fn enter(port: &Arc<PortCore>, index: usize) {
    CURRENT.with_borrow_mut(|current| {
        let same = current
            .worker
            .as_ref()
            .is_some_and(|(p, i)| Arc::ptr_eq(p, port) && *i == index);
        if !same {
            current.worker = Some((Arc::clone(port), index));
        }
    });
}

/// This thread is no worker any more.
pub(crate) fn leave() {
    CURRENT.with_borrow_mut(|current| current.worker = None);
}

/// Whether this thread is a worker of any port: it must not wait for workers then.
pub(crate) fn is_worker() -> bool {
    CURRENT.with_borrow(|current| current.worker.is_some())
}

/// The index of this thread among the workers of `port`.
pub(crate) fn worker_of(port: &PortCore) -> Option<usize> {
    CURRENT.with_borrow(|current| {
        let (own, index) = current.worker.as_ref()?;
        std::ptr::eq(&raw const **own, port).then_some(*index)
    })
}

/// The turn of `session` begins or (with 0) ends on this thread.
pub(crate) fn set_turn(session: u64) {
    CURRENT.with_borrow_mut(|current| current.in_turn = session != 0);
    TURN.with_borrow_mut(|turn| turn.session = session);
}

/// What the turn on this thread has built, if it is a turn of `session`.
pub(crate) fn with_turn_of<R>(session: u64, use_it: impl FnOnce(&mut Turn) -> R) -> Option<R> {
    TURN.with_borrow_mut(|turn| (turn.session == session).then(|| use_it(turn)))
}

/// Keeps `item` for the end of the turn or batch; gives it back if this thread gathers nothing.
pub(crate) fn gather(item: Arc<dyn Served>) -> Option<Arc<dyn Served>> {
    CURRENT.with_borrow_mut(|current| match &current.worker {
        Some((port, index)) if current.in_turn => {
            let mut dirty = port.slots()[*index].dirty.lock();
            dirty.push(item);
            if dirty.len() == 1 {
                drop(dirty);
                port.watch_dirty();
            }
            None
        }
        _ if current.batches > 0 && current.gathered.len() < GATHERED_MAX => {
            current.gathered.push(item);
            None
        }
        _ => Some(item),
    })
}

/// What the worker that runs this thread has gathered so far.
pub(crate) fn take_dirty() -> Vec<Arc<dyn Served>> {
    CURRENT.with_borrow(|current| match &current.worker {
        Some((port, index)) => std::mem::take(&mut *port.slots()[*index].dirty.lock()),
        None => Vec::new(),
    })
}

/// A batch begins on this thread.
pub(crate) fn begin_batch() {
    CURRENT.with_borrow_mut(|current| current.batches += 1);
}

/// A batch ends on this thread: what it gathered, if it was the outermost.
pub(crate) fn end_batch() -> Vec<Arc<dyn Served>> {
    CURRENT.with_borrow_mut(|current| {
        current.batches -= 1;
        if current.batches == 0 {
            std::mem::take(&mut current.gathered)
        } else {
            Vec::new()
        }
    })
}
