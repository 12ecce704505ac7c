//! What our calls passed to the system, for tests: some wrong values work under Wine and fail on
//! Windows. And what the system is made to refuse. Kept by the thread that called; a test runs on
//! a thread of its own.

use std::cell::{Cell, RefCell};

/// A call whose arguments matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// CreateIoCompletionPort for a new port: `NumberOfConcurrentThreads`.
    Port { concurrency: u32 },
    /// AcceptEx: whether its socket listens, and its three lengths.
    AcceptEx {
        listens: bool,
        first_data: u32,
        local: u32,
        remote: u32,
    },
    /// `SO_UPDATE_ACCEPT_CONTEXT` with this value.
    UpdateAccept { listener: usize },
    /// ConnectEx, on a socket with or without a local address.
    ConnectEx { is_bound: bool },
    /// `SO_UPDATE_CONNECT_CONTEXT`.
    UpdateConnect,
    /// `SO_EXCLUSIVEADDRUSE`.
    Exclusive,
}

thread_local! {
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    static REFUSED: Cell<u32> = const { Cell::new(0) };
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// Has the next sockets of this thread refused, as if there were no handles.
pub(super) fn refuse_sockets(count: u32) {
    REFUSED.set(count);
}

/// Whether this one is.
pub(super) fn is_refused() -> bool {
    let left = REFUSED.get();
    REFUSED.set(left.saturating_sub(1));
    left > 0
}

/// Notes a call of this thread.
pub(super) fn note(call: Call) {
    CALLS.with_borrow_mut(|calls| calls.push(call));
}

/// Notes that this thread asked the system about a stream that nobody reads.
pub(super) fn looked() {
    LOOKS.set(LOOKS.get() + 1);
}

/// How often it did since it last asked.
pub(super) fn take_looks() -> usize {
    LOOKS.take()
}

/// What this thread called since it last asked.
pub(super) fn take() -> Vec<Call> {
    CALLS.take()
}
