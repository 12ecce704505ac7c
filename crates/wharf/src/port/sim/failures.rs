//! System calls that fail because a test says so.

use std::io;

use super::Sim;
use super::log::What;
use super::net::{Id, World};
use crate::port::contract::Bits;

/// A call of a port's, to be failed by [`Sim::fail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Making a listening socket.
    Listen,
    /// Making a socket that connects.
    Connect,
    /// Having a socket reported.
    Register,
    /// Taking a waiting connection.
    Accept,
    /// Reading.
    Recv,
    /// Writing.
    Send,
    /// A worker's wait for reports.
    Wait,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Listen,
        Self::Connect,
        Self::Register,
        Self::Accept,
        Self::Recv,
        Self::Send,
        Self::Wait,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Register => "register",
            Self::Accept => "accept",
            Self::Recv => "recv",
            Self::Send => "send",
            Self::Wait => "wait",
        }
    }
}

/// Calls that are to fail.
#[derive(Debug)]
pub(super) struct Failing {
    call: Call,
    error: io::Error,
    left: u32,
}

impl Sim {
    /// Has the next `times` calls of this kind, on whichever socket of a port, fail with this
    /// error. Nothing else happens to the socket. Of a `WouldBlock` it is reported soon that the
    /// call would work, as the system does; an `Interrupted` never leaves the backend of a real
    /// system, which repeats the call, and so passes unseen here.
    ///
    /// ```
    /// use std::io;
    /// use wharf::sim::{Call, Sim};
    ///
    /// let sim = Sim::new(1);
    /// sim.fail(Call::Recv, &io::Error::from_raw_os_error(12), 1);
    /// assert_eq!(sim.failures_left(), 1);
    /// ```
    pub fn fail(&self, call: Call, error: &io::Error, times: u32) {
        let error = copy_of(error);
        let left = times;
        self.0
            .net
            .lock()
            .failing
            .push(Failing { call, error, left });
    }

    /// How many calls of those that [`Self::fail`] named have not been made yet.
    #[must_use]
    pub fn failures_left(&self) -> u64 {
        let world = self.0.net.lock();
        world
            .failing
            .iter()
            .map(|failing| u64::from(failing.left))
            .sum()
    }

    /// Forgets what [`Self::fail`] named and was not made yet.
    pub fn fail_no_more(&self) {
        self.0.net.lock().failing.clear();
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl World {
    /// The failure that this call is to have, if one is left.
    pub(super) fn failed(&mut self, call: Call, id: Option<Id>) -> io::Result<()> {
        let Some(place) = self.failing.iter().position(|f| f.call == call) else {
            return Ok(());
        };
        let failing = &mut self.failing[place];
        let error = copy_of(&failing.error);
        failing.left = failing.left.saturating_sub(1);
        if failing.left == 0 {
            self.failing.remove(place);
        }
        self.note(What::Failed(call.name(), id, error.kind()));
        match (error.kind(), id) {
            (io::ErrorKind::Interrupted, _) if call != Call::Wait => return Ok(()),
            (io::ErrorKind::WouldBlock, Some(id)) => {
                let bits = if call == Call::Send {
                    Bits::WRITE
                } else {
                    Bits::READ
                };
                self.report(id, bits);
            }
            _ => {}
        }
        Err(error)
    }
}
