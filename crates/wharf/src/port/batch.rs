//! Writes to many sessions at once: each gives what it wants written, the backend makes all of the
//! writes in one call, and each is told how its own ended.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::sync::Arc;

use smallvec::SmallVec;

use super::contract::{BATCH_MAX, GATHER_MAX, Write};
use super::served::Served;
use crate::session::core::FlushState;
use crate::time::Time;

/// From so many on they go together; before, one after the other is cheaper.
const WORTH_IT: usize = 4;
/// Buffers of one batch. What does not fit is written after it, as the rest of any short write.
const SLICES_MAX: usize = 4 * BATCH_MAX;

/// What a session wants written. It holds the flush right meanwhile, so nobody misses its state.
pub(crate) struct Outgoing {
    /// Whose it is.
    pub(crate) owner: Arc<dyn Served>,
    /// Not empty, and with a socket.
    pub(crate) held: FlushState,
}

thread_local! {
    /// Empty between two batches; it keeps its room.
    static BATCH: Cell<Vec<Outgoing>> = const { Cell::new(Vec::new()) };
}

/// The port work of many, with their writes gathered. In the order of `items`.
pub(crate) fn work_all(items: impl Iterator<Item = Arc<dyn Served>>, now: Time) {
    let mut batch = BATCH.take();
    for item in items {
        let Some(outgoing) = item.begin_write(now) else {
            continue;
        };
        let joins = |first: &Outgoing| same_sockets(first, &outgoing);
        if batch.len() == BATCH_MAX || !batch.first().is_none_or(joins) {
            write(&mut batch, now);
        }
        batch.push(outgoing);
    }
    write(&mut batch, now);
    BATCH.set(batch);
}

fn same_sockets(a: &Outgoing, b: &Outgoing) -> bool {
    match (a.owner.sockets(), b.owner.sockets()) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Makes the writes and empties the batch.
fn write(batch: &mut Vec<Outgoing>, now: Time) {
    if batch.len() < WORTH_IT {
        for outgoing in batch.drain(..) {
            let Outgoing { owner, held } = outgoing;
            let wrote = match (owner.sockets(), &held.socket) {
                (Some(sockets), Some(socket)) => held.send(&**sockets, socket),
                // It wants no write then.
                _ => Ok(0),
            };
            owner.end_write(held, wrote, now);
        }
        return;
    }
    let results = write_together(batch);
    for (outgoing, wrote) in batch.drain(..).zip(results) {
        outgoing.owner.end_write(outgoing.held, wrote, now);
    }
}

/// Makes the writes in one call; how each ended.
fn write_together(batch: &[Outgoing]) -> SmallVec<[io::Result<usize>; BATCH_MAX]> {
    let mut slices = SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
    let mut counts = SmallVec::<[usize; BATCH_MAX]>::new();
    for (index, outgoing) in batch.iter().enumerate() {
        // One each is kept free for those that follow.
        let room = SLICES_MAX - slices.len() - (batch.len() - index - 1);
        let before = slices.len();
        slices.extend(outgoing.held.slices().take(room.min(GATHER_MAX)));
        counts.push(slices.len() - before);
    }
    let mut rest = &slices[..];
    let mut writes = SmallVec::<[Write<'_>; BATCH_MAX]>::new();
    for (outgoing, count) in batch.iter().zip(counts) {
        let Some(socket) = &outgoing.held.socket else {
            break;
        };
        let (from, others) = rest.split_at(count);
        rest = others;
        writes.push(Write {
            socket,
            from,
            wrote: Ok(0),
        });
    }
    if let Some(sockets) = batch.first().and_then(|first| first.owner.sockets()) {
        sockets.send_batch(&mut writes);
    }
    writes.into_iter().map(|write| write.wrote).collect()
}
