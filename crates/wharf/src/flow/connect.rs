//! Connect: a link's connect ends, well or not. The link (`network/link.rs`) decides what then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::turn::Turning;
use crate::error::CloseReason;
use crate::handler::Handler;
use crate::network::{Link, NetworkCore};
use crate::port::TurnCx;
use crate::session::core::{Phase, SessionCore};
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

impl<H: Handler> NetworkCore<H> {
    /// Starts to connect for a link. Port work: never blocks.
    ///
    /// # Errors
    /// What failed at once.
    pub(crate) fn connect(
        self: &Arc<Self>,
        link: &Arc<Link<H>>,
        addr: SocketAddr,
        now: Time,
    ) -> io::Result<Arc<SessionCore<H>>> {
        if !self.take_place() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // After the place is taken, as in `admit`: a stop that saw none taken must be seen here.
        if self.is_stopping() {
            self.give_place();
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let socket = match self.sockets.connect(addr, &self.options.socket) {
            Ok(socket) => socket,
            Err(error) => {
                self.give_place();
                return Err(error);
            }
        };
        let link = Some(Arc::clone(link));
        let by = Some(now + self.options.connect_timeout);
        let session = self.insert_session(link, socket, addr, Phase::Connecting, by);
        Ok(session.ok_or(io::ErrorKind::OutOfMemory)?)
    }
}

impl<H: Handler> SessionCore<H> {
    /// A turn while connecting: the connect ended, took too long, or is no longer wanted; false if
    /// it goes on.
    pub(super) fn connect_ended(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        had: u32,
        cx: &TurnCx<'_>,
    ) -> bool {
        if self.word.has(word::SHUT) {
            // Nothing to flush and nobody to part from: a stop must not wait for a host that does
            // not answer.
            self.close(CloseHow::Abort, CloseReason::Shutdown);
            return true;
        }
        let Some(socket) = &turn.socket else {
            return false;
        };
        // Before the look, not after it: the edge of the end may come in between.
        self.word.take(word::WRITABLE);
        let error = match self.net.sockets.connect_result(socket) {
            Ok(()) => {
                self.word.mark(word::WRITABLE);
                self.word.take(word::CONNECTING);
                turn.phase = Phase::Opening;
                let handshake = self.net.options.timeouts.handshake;
                self.deadlines
                    .handshake_by(handshake.map(|timeout| cx.now + timeout));
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if had & word::TIMER == 0 {
                    // Reported too early: the edge of its end is still to come.
                    return false;
                }
                io::ErrorKind::TimedOut.into()
            }
            Err(error) => error,
        };
        if let Some(link) = &self.link {
            link.connect_failed(self.peer(), &error);
        }
        self.close(CloseHow::Abort, CloseReason::Io(error.kind()));
        true
    }
}
