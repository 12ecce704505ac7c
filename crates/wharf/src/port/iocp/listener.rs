//! A listener: several AcceptEx under way, each with a socket of its own to fill.
//!
//! What they bring waits here until `accept` takes it, and each one taken is replaced, so waiting
//! and outstanding ones together are never more than were asked for. An accept that the system
//! refuses is tried again by the next call of `accept`, which says why there is nothing: the
//! caller, who backs off and comes back, is the clock.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::windows::io::AsSocket;
use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::Handle;
use super::op::{Completion, Op};
use super::shared::Shared;
use super::socket::new_socket;
use super::status;
use super::stream::OwnedStream;
use super::sys;
use super::whom::Whom;
use crate::port::contract::{Bits, ListenOptions, Ready, SocketOptions, Token};
use crate::port::socket::apply;

/// The most accepts that are worth having under way: each costs a socket.
const ACCEPTS_MAX: usize = 1024;

/// Where accepted connections wait.
#[derive(Debug, Default)]
pub(super) struct Hall {
    whom: Arc<Whom>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Accepts that have ended, well or not.
    done: VecDeque<Completion>,
    /// Accepts in the system's hands.
    outstanding: usize,
    is_closed: bool,
}

/// The owner's side. Dropping it closes the listener and what waits in it.
#[derive(Debug)]
pub(super) struct OwnedListener {
    hall: Arc<Hall>,
    /// Of the same family as what is accepted.
    addr: SocketAddr,
    accepts: usize,
    pub(super) handle: Arc<Handle>,
}

impl OwnedListener {
    /// Binds and listens. The first accepts are started when somebody asks for what they bring.
    pub(super) fn listen(
        shared: &Arc<Shared>,
        addr: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<Self> {
        let socket = new_socket(addr)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!options.dual_stack)?;
        }
        // SO_REUSEADDR would let another program take the address over; a restart needs it on
        // other systems only.
        sys::set_exclusive(socket.as_socket()).map_err(status::error)?;
        apply(&socket, &options.socket)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        shared.bell.port.associate(socket.as_socket())?;
        Ok(Self {
            hall: Arc::default(),
            addr,
            accepts: (options.accepts_outstanding as usize).clamp(1, ACCEPTS_MAX),
            handle: Arc::new(Handle::new(socket, Arc::clone(shared))),
        })
    }

    /// Reports under `token` from now on.
    pub(super) fn register(&self, token: Token) -> io::Result<()> {
        self.hall.whom.register(token)?;
        let refused = self.top_up().is_err();
        let waits = !self.hall.state.lock().done.is_empty();
        // The accept that follows is told what was refused.
        let bits = if refused || waits {
            Bits::READ
        } else {
            Bits::default()
        };
        self.handle.shared.notice(&self.hall.whom, bits);
        Ok(())
    }

    /// Takes one connection that waits.
    pub(super) fn accept(&self, options: &SocketOptions) -> io::Result<(OwnedStream, SocketAddr)> {
        let first = self.hall.state.lock().done.pop_front();
        let started = self.top_up();
        match first {
            Some(first) => self.finish(&first, options),
            None => Err(started.err().unwrap_or(io::ErrorKind::WouldBlock.into())),
        }
    }

    /// Starts accepts until there are enough.
    fn top_up(&self) -> io::Result<()> {
        let mut gone = 0;
        loop {
            {
                let mut state = self.hall.state.lock();
                if state.outstanding + state.done.len() >= self.accepts {
                    return Ok(());
                }
                state.outstanding += 1;
            }
            // Not under the lock: the packet may come to another worker at once.
            let Err((code, error)) = self.start() else {
                continue;
            };
            self.hall.state.lock().outstanding -= 1;
            let of_one = code.is_some_and(status::is_of_one_connection);
            gone += 1;
            if !of_one || gone > self.accepts {
                return Err(error);
            }
        }
    }

    /// Starts one accept.
    fn start(&self) -> Result<(), (Option<sys::Code>, io::Error)> {
        let plain = |error| (None, error);
        let socket = new_socket(self.addr).map_err(plain)?;
        let body = Op::accept_body(Arc::clone(&self.hall), socket);
        let op = Op::new(body, &self.handle.shared.ops);
        let entered = self.handle.enter();
        let entered = entered.ok_or_else(|| plain(io::ErrorKind::NotConnected.into()))?;
        let issued = op.issue(entered.as_socket(), None);
        issued.map_err(|code| (Some(code), status::error(code)))
    }

    /// Makes a stream of an accept that has ended.
    fn finish(
        &self,
        accept: &Completion,
        options: &SocketOptions,
    ) -> io::Result<(OwnedStream, SocketAddr)> {
        let failed = |code| {
            if status::is_of_one_connection(code) {
                io::Error::new(io::ErrorKind::ConnectionAborted, status::error(code))
            } else {
                status::error(code)
            }
        };
        if accept.code != 0 {
            return Err(failed(accept.code));
        }
        let accepted = accept.op.take_accepted();
        let (socket, peer) = accepted.ok_or(io::ErrorKind::ConnectionAborted)?;
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        let entered = self.handle.enter().ok_or(io::ErrorKind::NotConnected)?;
        sys::update_accept_context(socket.as_socket(), entered.as_socket()).map_err(failed)?;
        // Refused with one number or another if the peer has reset it meanwhile: no fault of the
        // listener, unless the system lacks something.
        let gone = |error: io::Error| {
            let code = error
                .raw_os_error()
                .map_or(status::RESET, i32::cast_unsigned);
            if status::is_shortage(code) {
                error
            } else {
                io::Error::new(io::ErrorKind::ConnectionAborted, error)
            }
        };
        apply(&socket, options).map_err(gone)?;
        let shared = &self.handle.shared;
        let associated = shared.bell.port.associate(socket.as_socket());
        associated.map_err(gone)?;
        Ok((OwnedStream::connected(socket, shared, options), peer))
    }
}

impl Drop for OwnedListener {
    fn drop(&mut self) {
        self.hall.whom.close();
        let mut state = self.hall.state.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.done);
        drop(state);
        // Nobody will take them: their peers see the end.
        drop(waiting);
    }
}

/// An accept has ended.
pub(super) fn accepted(hall: &Hall, completion: Completion, out: &mut Vec<Ready>) {
    let mut state = hall.state.lock();
    state.outstanding -= 1;
    if state.is_closed {
        drop(state);
        // With the socket that it may have filled.
        return drop(completion);
    }
    state.done.push_back(completion);
    drop(state);
    out.extend(hall.whom.report(Bits::READ));
}
