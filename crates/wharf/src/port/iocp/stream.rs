//! A stream that is connected or connecting: what it knows about itself, and its readable side.
//!
//! A zero-byte receive is pending whenever the stream is idle, so that an idle session pins no
//! buffer and a reset is told as one. Its packet is the report READ; then nothing is pending until
//! `recv` finds less than it has room for: it arms the receive again before it returns (R12), so
//! whatever comes later has a packet of its own. In between, the watch (`watch.rs`) looks.

use std::io;
use std::os::windows::io::AsSocket;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use socket2::SockRef;

use super::handle::{Entered, Handle};
use super::op::{Body, Completion, Op};
use super::send::{Sending, code_of, taken_max};
use super::shared::Shared;
use super::status;
use super::sys::{self, Code};
use super::watch::Watched;
use super::whom::Whom;
use crate::port::contract::{Bits, Ready, SocketOptions, Token};

/// A connect is under way.
const CONNECTING: u8 = 0;
/// It is connected, or was.
const OPEN: u8 = 1;

/// What is said of a stream that has failed: whoever waits for anything must look.
pub(super) const FAILED: Bits = Bits::READ
    .with(Bits::WRITE)
    .with(Bits::HANGUP)
    .with(Bits::ERROR);

/// What a stream's owner and its ops know about it. Holds no op and not the socket: those hold it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) whom: Arc<Whom>,
    /// The socket, for whoever is not its owner.
    pub(super) handle: Weak<Handle>,
    phase: AtomicU8,
    /// How it failed; 0 while it has not. The first failure stays: the system tells a reset to
    /// one call only.
    failure: AtomicU32,
    failure_taken: AtomicBool,
    /// Our direction was ended.
    pub(super) write_shut: AtomicBool,
    /// The close is to be a reset.
    pub(super) resets: AtomicBool,
    pub(super) watched: Watched,
    pub(super) sending: Mutex<Sending>,
}

/// The owner's side. Dropping it closes the stream, at once or when what was taken is sent.
#[derive(Debug)]
pub(super) struct OwnedStream {
    /// Dropped before the handle: a port waits for its ops.
    recv: Arc<Op>,
    pub(super) stream: Arc<Stream>,
    pub(super) handle: Arc<Handle>,
    /// The most that one overlapped send takes.
    pub(super) taken_max: usize,
}

impl OwnedStream {
    /// Around a connected socket.
    pub(super) fn connected(
        socket: socket2::Socket,
        shared: &Arc<Shared>,
        options: &SocketOptions,
    ) -> Self {
        Self::new(socket, shared, options, OPEN)
    }

    /// Around a socket that will connect.
    pub(super) fn connecting(
        socket: socket2::Socket,
        shared: &Arc<Shared>,
        options: &SocketOptions,
    ) -> Self {
        Self::new(socket, shared, options, CONNECTING)
    }

    fn new(
        socket: socket2::Socket,
        shared: &Arc<Shared>,
        options: &SocketOptions,
        phase: u8,
    ) -> Self {
        let handle = Arc::new(Handle::new(socket, Arc::clone(shared)));
        let stream = Arc::new(Stream {
            whom: Arc::default(),
            handle: Arc::downgrade(&handle),
            phase: AtomicU8::new(phase),
            failure: AtomicU32::new(0),
            failure_taken: AtomicBool::new(false),
            write_shut: AtomicBool::new(false),
            resets: AtomicBool::new(false),
            watched: Watched::default(),
            sending: Mutex::default(),
        });
        Self {
            recv: Op::new(Body::Recv(Arc::clone(&stream)), &shared.ops),
            stream,
            handle,
            taken_max: taken_max(options),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The op that a connect arms when it works.
    pub(super) fn recv_op(&self) -> Arc<Op> {
        Arc::clone(&self.recv)
    }

    /// Reports under `token` from now on, beginning with what holds.
    pub(super) fn register(&self, token: Token) -> io::Result<()> {
        self.stream.whom.register(token)?;
        let mut bits = Bits::default();
        if self.stream.is_open() {
            bits = Bits::WRITE;
            if let Some(entered) = self.handle.enter() {
                arm(self.shared(), &self.recv, &self.stream, &entered);
            }
        }
        if self.stream.failure().is_some() {
            bits = FAILED;
        }
        self.shared().notice(&self.stream.whom, bits);
        Ok(())
    }

    /// Clause 4.
    pub(super) fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let (stream, shared) = (&self.stream, self.shared());
        let entered = self.enter()?;
        stream.watched.heard();
        match sys::recv(entered.as_socket(), into, false) {
            // What is pending ends too, and says whether this is the stream's end or a reset: a
            // call that comes after a reset is told nothing of it by Wine.
            Ok(0) if self.recv.is_in_flight() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(0) => stream.end(&entered).map(|()| 0),
            Ok(n) if n < into.len() => {
                arm(shared, &self.recv, stream, &entered);
                Ok(n)
            }
            Ok(n) => {
                // The caller knows that there may be more; the watch does too, should it not ask.
                shared.watch.told(shared, &self.recv, stream);
                Ok(n)
            }
            Err(status::WOULD_BLOCK) => {
                if stream.failure().is_none() {
                    arm(shared, &self.recv, stream, &entered);
                }
                Err(stream.failure().unwrap_or(io::ErrorKind::WouldBlock.into()))
            }
            Err(code) if status::is_shortage(code) => {
                shared.watch.owe_arm(shared, &self.recv, stream);
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(code) => Err(stream.fail(code)),
        }
    }

    /// The socket, if it is connected and not broken.
    pub(super) fn enter(&self) -> io::Result<Entered<'_>> {
        if !self.stream.is_open() {
            let failed = self.stream.failure();
            return Err(failed.unwrap_or(io::ErrorKind::WouldBlock.into()));
        }
        let gone = || self.stream.fail(status::RESET);
        self.handle.enter().ok_or_else(gone)
    }

    /// Breaks the connection: the peer sees a reset, all ops fail, all calls fail. The system
    /// resets a connection only when its socket is closed, so it is, behind the gate.
    pub(super) fn disconnect(&self) {
        // Before the packets that say the same in other words.
        let _ = self.stream.fail(status::RESET);
        self.reset_on_close();
        self.handle.shut();
        self.shared().notice(&self.stream.whom, FAILED);
    }

    /// Makes the close a reset.
    pub(super) fn reset_on_close(&self) {
        self.stream.resets.store(true, Ordering::Release);
        self.handle.reset_on_close();
    }

    /// The failure, once.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        if self.stream.is_open()
            && self.stream.failure().is_none()
            && let Some(entered) = self.handle.enter()
        {
            self.stream.look_for_failure(&entered);
        }
        let failure = self.stream.failure()?;
        let taken = self.stream.failure_taken.swap(true, Ordering::AcqRel);
        (!taken).then_some(failure)
    }
}

impl Drop for OwnedStream {
    fn drop(&mut self) {
        self.stream.whom.close();
        if !self.stream.resets.load(Ordering::Acquire) {
            self.linger();
        }
    }
}

impl Stream {
    pub(super) fn is_open(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OPEN
    }

    /// Its connect has worked.
    pub(super) fn set_open(&self) {
        self.phase.store(OPEN, Ordering::Release);
    }

    /// How it failed.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let code = self.failure.load(Ordering::Acquire);
        (code != 0).then(|| status::error(code))
    }

    /// It has failed; the first failure stays, and is returned.
    pub(super) fn fail(&self, code: Code) -> io::Error {
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let first = self.failure.compare_exchange(0, code, order.0, order.1);
        status::error(first.err().unwrap_or(code))
    }

    /// The system says that the stream has ended. Wine 8 says so too after a reset that came while
    /// no receive was pending; once our own direction has ended, nothing tells the two apart there.
    fn end(&self, entered: &Entered<'_>) -> io::Result<()> {
        self.look_for_failure(entered);
        self.failure().map_or(Ok(()), Err)
    }

    /// Asks the system whether the stream has failed.
    pub(super) fn look_for_failure(&self, entered: &Entered<'_>) {
        let socket = SockRef::from(entered);
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            let _ = self.fail(code_of(&error));
        }
        // A connection that is gone although we have not ended our direction was reset. First the
        // flag: it is set before our end can end the connection.
        let gone = |error: io::Error| error.kind() == io::ErrorKind::NotConnected;
        let ended = self.write_shut.load(Ordering::Acquire);
        if !ended && socket.peer_addr().is_err_and(gone) {
            let _ = self.fail(status::RESET);
        }
    }
}

/// Has the next arrival reported. The caller holds the turn, or nobody does yet.
pub(super) fn arm(shared: &Shared, recv: &Arc<Op>, stream: &Arc<Stream>, entered: &Entered<'_>) {
    match recv.issue(entered.as_socket(), None) {
        Ok(()) => {}
        Err(code) if status::is_shortage(code) => shared.watch.owe_arm(shared, recv, stream),
        Err(code) => {
            // Whoever waits for an arrival gets this instead.
            let _ = stream.fail(code);
            shared.notice(&stream.whom, FAILED);
        }
    }
}

/// A zero-byte receive has ended: there is something to read, or the stream has failed.
pub(super) fn received(
    shared: &Shared,
    stream: &Arc<Stream>,
    completion: &Completion,
    out: &mut Vec<Ready>,
) {
    if stream.whom.is_closed() {
        return;
    }
    let bits = match completion.code {
        0 => {
            shared.watch.told(shared, &completion.op, stream);
            Bits::READ
        }
        code if status::is_shortage(code) => {
            return shared.watch.owe_arm(shared, &completion.op, stream);
        }
        code => {
            let _ = stream.fail(code);
            FAILED
        }
    };
    out.extend(stream.whom.report(bits));
}
