//! The backend contract, kept by the simulated network.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use super::failures::Call;
use super::listener::loopback;
use super::net::{Id, SimNet, World};
use crate::port::contract::{Backend, ListenOptions, Ready, SocketOptions, Sockets, Token, Wait};
use crate::port::names::Found;
use crate::port::socket::{Kind, Socket};
use crate::time::Time;

/// A socket of the simulated network; dropping it closes it.
#[derive(Debug)]
pub(in crate::port) struct SimSocket {
    net: SimNet,
    id: Id,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.net.lock().close(self.id);
    }
}

/// The backend of one simulated port.
#[derive(Debug)]
pub(crate) struct SimPort {
    net: SimNet,
    index: usize,
}

impl SimPort {
    pub(super) fn new(net: SimNet) -> Self {
        let index = net.lock().add_port();
        Self { net, index }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    fn id(&self, socket: &Socket) -> io::Result<Id> {
        socket.sim().map(|socket| socket.id).ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidInput,
                "the socket is not of the simulated network; use the backend that made it",
            )
        })
    }

    fn socket(&self, id: Id) -> Socket {
        Socket(Kind::Sim(SimSocket {
            net: self.net.clone(),
            id,
        }))
    }

    /// Notes how a call ended that gives no bytes.
    fn noted(
        &self,
        call: &'static str,
        socket: &Socket,
        work: impl FnOnce(&mut World, Id) -> io::Result<()>,
    ) -> io::Result<()> {
        let id = self.id(socket)?;
        let mut world = self.net.lock();
        let result = work(&mut world, id).map(|()| 0);
        world.called(call, id, result).map(|_| ())
    }
}

impl Drop for SimPort {
    fn drop(&mut self) {
        self.net.lock().close_port(self.index);
    }
}

impl Backend for SimPort {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn now(&self) -> Time {
        self.net.lock().now
    }

    /// Never sleeps: the driver calls it when there is something, and moves the clock otherwise.
    fn wait(&self, out: &mut Vec<Ready>, max: usize, _how: Wait) -> io::Result<()> {
        let mut world = self.net.lock();
        match world.failed(Call::Wait, None) {
            Ok(()) => world.wait(self.index, out, max),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wake(&self) {
        self.net.lock().wake(self.index);
    }

    fn set_timer(&self, at: Option<Time>) {
        self.net.lock().set_timer(self.index, at);
    }

    fn is_real_time(&self) -> bool {
        false
    }

    fn wakes_for_each(&self) -> bool {
        true
    }

    fn entropy(&self) -> u64 {
        self.net.lock().rng.u64(..)
    }
}

impl Sockets for SimPort {
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
        let mut world = self.net.lock();
        world.failed(Call::Listen, None)?;
        let id = world.listen(addr, options, true)?;
        drop(world);
        Ok(self.socket(id))
    }

    fn connect(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
        let mut world = self.net.lock();
        world.failed(Call::Connect, None)?;
        let id = world.connect(loopback(addr), addr, options, true)?;
        drop(world);
        Ok(self.socket(id))
    }

    fn register(&self, token: Token, socket: &Socket) -> io::Result<()> {
        self.noted("register", socket, |world, id| {
            world.failed(Call::Register, Some(id))?;
            world.register(self.index, token, id)
        })
    }

    fn accept(
        &self,
        listener: &Socket,
        options: &SocketOptions,
    ) -> io::Result<(Socket, SocketAddr)> {
        let listener = self.id(listener)?;
        let mut world = self.net.lock();
        world.failed(Call::Accept, Some(listener))?;
        let (id, remote) = world.accept_noted(listener, options)?;
        drop(world);
        Ok((self.socket(id), remote))
    }

    fn connect_result(&self, socket: &Socket) -> io::Result<()> {
        self.noted("connect_result", socket, World::connect_result)
    }

    fn recv(&self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        let id = self.id(socket)?;
        let mut world = self.net.lock();
        let failed = world.failed(Call::Recv, Some(id));
        let result = failed.and_then(|()| world.recv(id, into));
        world.called("recv", id, result)
    }

    fn sends_together(&self) -> bool {
        // Some backends do, some don't: each seed is of one kind.
        self.net.lock().seed.is_multiple_of(2)
    }

    fn send(&self, socket: &Socket, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let id = self.id(socket)?;
        let mut world = self.net.lock();
        let failed = world.failed(Call::Send, Some(id));
        let result = failed.and_then(|()| world.send(id, from, true));
        world.called("send", id, result)
    }

    fn shutdown_write(&self, socket: &Socket) {
        if let Ok(id) = self.id(socket) {
            self.net.lock().shutdown_write(id);
        }
    }

    fn disconnect(&self, socket: &Socket) {
        if let Ok(id) = self.id(socket) {
            self.net.lock().disconnect(id);
        }
    }

    fn reset_on_close(&self, socket: &Socket) {
        if let Ok(id) = self.id(socket) {
            self.net.lock().reset_on_close(id);
        }
    }

    fn take_error(&self, socket: &Socket) -> Option<io::Error> {
        let id = self.id(socket).ok()?;
        self.net
            .lock()
            .stream(id)?
            .failure
            .take()
            .map(io::Error::from)
    }

    fn local_addr(&self, socket: &Socket) -> io::Result<SocketAddr> {
        let id = self.id(socket)?;
        self.net.lock().local_addr(id)
    }

    fn look_up(&self, names: Vec<String>, found: Found) {
        self.net.lock().look_up(names, found);
    }
}
