//! The simulator held to the contract and to its own promises.

mod bytes;
mod contract;
mod driver;
mod faults;
mod lifecycle;
mod peers;

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Faults, Sim};
use crate::port::contract::{Bits, ListenOptions, Ready, SocketOptions, Sockets, Token, Wait};
use crate::port::socket::Socket;

/// A network without faults and one port of it.
fn plain() -> (Sim, Arc<dyn Sockets>) {
    with(Faults::none())
}

fn with(faults: Faults) -> (Sim, Arc<dyn Sockets>) {
    let sim = Sim::with_faults(1, faults);
    let port = sim.backend();
    (sim, port)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Lets everything happen that will.
fn settle(sim: &Sim) {
    while sim.step() {}
}

fn harvest(port: &Arc<dyn Sockets>) -> Vec<Ready> {
    let mut out = Vec::new();
    port.wait(&mut out, usize::MAX, Wait::Block).unwrap();
    out
}

/// All bits that were reported under `token`.
fn bits(port: &Arc<dyn Sockets>, token: Token) -> Bits {
    let harvested = harvest(port);
    let own = harvested.iter().filter(|ready| ready.token == token);
    own.fold(Bits::default(), |bits, ready| bits.with(ready.bits))
}

fn send(port: &Arc<dyn Sockets>, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    port.send(socket, &[IoSlice::new(bytes)])
}

/// Reads up to 64 bytes.
fn recv(port: &Arc<dyn Sockets>, socket: &Socket) -> io::Result<Vec<u8>> {
    let mut into = [0; 64];
    let count = port.recv(socket, &mut into)?;
    Ok(into[..count].to_vec())
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn listen(port: &Arc<dyn Sockets>, at: &str) -> io::Result<Socket> {
    port.listen(addr(at), &ListenOptions::default())
}

fn connect(port: &Arc<dyn Sockets>, to: SocketAddr) -> io::Result<Socket> {
    port.connect(to, &SocketOptions::default())
}

fn accept(port: &Arc<dyn Sockets>, listener: &Socket) -> io::Result<(Socket, SocketAddr)> {
    port.accept(listener, &SocketOptions::default())
}

const CLIENT: Token = Token::new(1, 1);
const SERVER: Token = Token::new(2, 1);

/// Both ends of a connection, registered, everything so far harvested.
fn pair(sim: &Sim, port: &Arc<dyn Sockets>) -> (Socket, Socket) {
    let listener = listen(port, "10.0.0.1:0").unwrap();
    let client = connect(port, port.local_addr(&listener).unwrap()).unwrap();
    settle(sim);
    let (server, _) = accept(port, &listener).unwrap();
    port.register(CLIENT, &client).unwrap();
    port.register(SERVER, &server).unwrap();
    harvest(port);
    (client, server)
}
