//! A connected peer: its handle, its registry, and the groups it is in.

pub(crate) mod any;
pub(crate) mod core;
pub(crate) mod deadlines;
pub(crate) mod group;
pub(crate) mod held;
#[cfg(any(test, feature = "model"))]
pub(crate) mod held_frames;
pub(crate) mod lazy;
pub(crate) mod piece;
pub(crate) mod queue;
#[cfg(any(test, feature = "model"))]
pub(crate) mod queue_lists;
pub(crate) mod registry;
pub(crate) mod word;
// Loom's atomics live in models alone, and `models` tries the word there.
#[cfg(all(test, not(loom)))]
mod word_values;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::error::{CloseReason, SendError};
use crate::handler::Handler;
use crate::network::Network;
use core::SessionCore;
use queue::CloseHow;

/// A session's number: counted up for the whole process, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(NonZeroU64);

impl SessionId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        // 2^64 sessions take 5,000 years at 100 million a second.
        Self(NonZeroU64::new(id).unwrap_or(NonZeroU64::MAX))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The id with this number, as [`Self::get`] gave it; `None` for 0, which is no session's.
    #[must_use]
    pub fn from_u64(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What [`Session::post`] runs.
pub(crate) type Job<H> = Box<dyn FnOnce(&Session<H>, &mut <H as Handler>::State) + Send>;

/// A handle to a session of a network with handler `H`. Cheap to clone and to keep: it holds no
/// socket open, and every call on a session that is over says so.
pub struct Session<H: Handler>(pub(crate) Arc<SessionCore<H>>);

impl<H: Handler> Clone for Session<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler> fmt::Debug for Session<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<H: Handler> PartialEq for Session<H> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl<H: Handler> Eq for Session<H> {}

/// What a session has moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Whole frames received.
    pub frames_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Whole frames written to the socket.
    pub frames_out: u64,
    /// Bytes written to the socket.
    pub bytes_out: u64,
}

/// What waits in a session's send queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendQueueState {
    /// Bytes accepted and not written.
    pub bytes: usize,
    /// Frames accepted and not written.
    pub frames: usize,
    /// Above the high-water mark, and not yet down to the low one: this reader is behind.
    pub behind: bool,
}

impl<H: Handler> Session<H> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// The peer's address; behind a balancer that speaks PROXY v2, the client's.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer()
    }

    /// Our end's address; `None` once the session is closed, and while another thread writes to it.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let flush = self.0.flush.try_lock()?;
        let socket = flush.socket.as_ref()?;
        self.0.net.sockets.local_addr(socket).ok()
    }

    /// The network it belongs to: for a handler that sends to its other sessions.
    #[must_use]
    pub fn network(&self) -> Network<H> {
        Network(Arc::clone(&self.0.net))
    }

    /// The handler that serves it.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.net.handler
    }

    /// Whether frames are still accepted for it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.word.has(word::SHUT | word::DEAD)
    }

    /// Sends one frame with this payload, framed by the network's framing. From any thread; never
    /// blocks. A caller's frames stay in order (G4).
    ///
    /// Inside the session's own turn the frame joins the worker's out buffer and leaves at the end
    /// of the turn, in one write with the others; [`Self::flush`] sends what is there at once. What
    /// other sessions send to this one meanwhile may overtake it: flush a greeting before you tell
    /// others about the session. On a network with [`FlushMode::Tick`](crate::FlushMode::Tick) all
    /// frames wait in the send queue, in one order, until a flush is asked for.
    ///
    /// # Errors
    /// [`SendError::Closed`], or what the send queue's full-policy says.
    #[inline]
    pub fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.0.send_payload(payload)
    }

    /// Sends several payloads, each as a frame; stops at the first that is not accepted.
    ///
    /// # Errors
    /// As [`Self::send`], with the number of frames that were accepted.
    pub fn send_many<'a>(
        &self,
        payloads: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<usize, (usize, SendError)> {
        let mut sent = 0;
        for payload in payloads {
            self.send(payload).map_err(|error| (sent, error))?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Sends one frame whose payload `encode` appends to the buffer it is given; in the session's
    /// own turn one that the worker keeps, so nothing is allocated. When it fails, or panics,
    /// nothing is queued, and what was sent before is not touched.
    ///
    /// # Errors
    /// What `encode` returned, or as [`Self::send`].
    pub fn send_with<E: From<SendError>>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let framing = &self.0.net.options.framing;
        self.0.send_encoded(|out| {
            let begun = framing.begin(out);
            let start = out.len();
            encode(out)?;
            if out.len() < start {
                // The closure cut into what was there before: not a frame any more.
                return Err(SendError::Framing.into());
            }
            framing
                .finish(out, begun)
                .map_err(|_| SendError::Framing.into())
        })
    }

    /// Sends one frame of wire bytes as they are, header included, without a copy when it has to
    /// be queued: what a broadcast encodes once.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_wire(&self, wire: Bytes) -> Result<(), SendError> {
        self.0.send_wire(wire)
    }

    /// Like [`Self::send_wire`], and gives the bytes back when they were not accepted.
    ///
    /// # Errors
    /// As [`Self::send`], with the bytes.
    pub fn try_send(&self, wire: Bytes) -> Result<(), (Bytes, SendError)> {
        self.0
            .send_wire(wire.clone())
            .map_err(|error| (wire, error))
    }

    /// Writes what the running turn has built so far: for a callback that is about to wait for
    /// something. In another session's turn it writes what that turn has sent to others; outside of
    /// turns nothing gathers, and it does nothing. On a network with
    /// [`FlushMode::Tick`](crate::FlushMode::Tick) it writes, from any thread, what this session
    /// holds.
    pub fn flush(&self) {
        self.0.flush_now();
    }

    /// Closes: no frame is accepted or handled from now on, what was accepted is flushed, then our
    /// stream ends and the peer's end is awaited, all within the network's linger time.
    pub fn close(&self) {
        self.0.close(CloseHow::Graceful, CloseReason::Closed);
    }

    /// Cuts the connection now; the peer sees a reset where the system can show one.
    pub fn abort(&self) {
        self.0.close(CloseHow::Abort, CloseReason::Aborted);
    }

    /// Runs `job` serially with this session's callbacks, with its state, on a worker. A job that
    /// was accepted runs before `on_close`.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the session is over, [`SendError::Full`] when `mailbox_max` jobs
    /// wait.
    pub fn post(
        &self,
        job: impl FnOnce(&Self, &mut H::State) + Send + 'static,
    ) -> Result<(), SendError> {
        self.0.post(Box::new(job))
    }

    /// The lane that its turns run in.
    #[must_use]
    pub fn lane(&self) -> &str {
        let lane = usize::from(self.0.lane.load(Ordering::Relaxed));
        &self.0.net.turns.lanes[lane].name
    }

    /// Re-classes the session: from its next turn on it runs in this lane of its port or pool. If
    /// it waits for a turn it moves at once, to the back of the new lane; a turn that runs keeps
    /// its place. From any thread: after a login, say.
    ///
    /// # Errors
    /// A lane that its port or pool does not have.
    pub fn set_lane(&self, name: &str) -> crate::error::Result<()> {
        self.0.set_lane(name)
    }

    /// Stops reading from this session until the guard is dropped: for a login that waits for a
    /// database. Frames already received wait too; TCP holds back the peer.
    #[must_use = "reading resumes when the guard is dropped"]
    pub fn pause_reading(&self) -> PauseGuard<H> {
        self.0.pause(true);
        PauseGuard(self.clone())
    }

    /// What it has moved.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        let counts = &self.0.counts;
        SessionStats {
            frames_in: counts.frames_in.load(Ordering::Relaxed),
            bytes_in: counts.bytes_in.load(Ordering::Relaxed),
            frames_out: counts.frames_out.load(Ordering::Relaxed),
            bytes_out: counts.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// What waits in its send queue: how a broadcaster finds out who is behind.
    #[must_use]
    pub fn send_queue(&self) -> SendQueueState {
        let out = self.0.out.lock();
        SendQueueState {
            bytes: out.bytes(),
            frames: out.frames(),
            behind: self.0.word.has(word::CHOKED),
        }
    }

    /// The same session without its handler's type.
    #[must_use]
    pub fn any(&self) -> any::AnySession {
        any::AnySession::new(self.clone())
    }
}

/// Reading from the session is paused while this lives.
#[derive(Debug)]
pub struct PauseGuard<H: Handler>(Session<H>);

impl<H: Handler> Drop for PauseGuard<H> {
    fn drop(&mut self) {
        self.0.0.pause(false);
    }
}
