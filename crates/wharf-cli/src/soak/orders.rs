//! Orders from standard input, and answers as lines of JSON.

use std::io::BufRead as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use serde::Serialize;

use crate::exit::Failure;
use crate::out;

/// Orders that wait; one is given at a time.
const ORDERS_MAX: usize = 64;

/// The lines of standard input.
pub(super) struct Orders(Receiver<String>);

/// What a look at the orders has found.
pub(super) enum Order {
    /// A line.
    Line(String),
    /// Nothing yet.
    None,
    /// Standard input has ended: so does this process.
    End,
}

impl Orders {
    /// Reads standard input on a thread of its own: a read has no time limit.
    ///
    /// # Errors
    /// No thread to be had.
    pub(super) fn read() -> Result<Self, Failure> {
        let (sender, receiver) = sync_channel(ORDERS_MAX);
        let reading = Builder::new().name("soak-orders".into()).spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        reading.map_err(|error| Failure::machine(format!("no thread for the orders: {error}")))?;
        Ok(Self(receiver))
    }

    /// The next order, after at most so long.
    pub(super) fn next(&self, limit: Duration) -> Order {
        match self.0.recv_timeout(limit) {
            Ok(line) => Order::Line(line),
            Err(RecvTimeoutError::Timeout) => Order::None,
            Err(RecvTimeoutError::Disconnected) => Order::End,
        }
    }

    /// The next order, if there is one.
    pub(super) fn look(&self) -> Order {
        match self.0.try_recv() {
            Ok(line) => Order::Line(line),
            Err(TryRecvError::Empty) => Order::None,
            Err(TryRecvError::Disconnected) => Order::End,
        }
    }
}

/// Prints `{"name":value}`.
///
/// # Errors
/// Nobody reads it any more.
pub(super) fn tell(name: &'static str, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value)
        .map_err(|error| Failure::machine(format!("could not write a line: {error}")))?;
    out::line(format_args!("{{\"{name}\":{json}}}"))
}
