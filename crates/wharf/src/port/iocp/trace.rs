//! What our calls passed to the system, for tests: some wrong values work under Wine and fail on
//! Windows. Kept by the thread that called; a test runs on a thread of its own.

use std::cell::RefCell;

/// A call whose arguments matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// CreateIoCompletionPort for a new port: `NumberOfConcurrentThreads`.
    Port { concurrency: u32 },
    /// AcceptEx: its three lengths.
    AcceptEx {
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
}

/// Notes a call of this thread.
pub(super) fn note(call: Call) {
    CALLS.with_borrow_mut(|calls| calls.push(call));
}

/// What this thread called since it last asked.
pub(super) fn take() -> Vec<Call> {
    CALLS.take()
}
