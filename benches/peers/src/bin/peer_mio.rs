//! The servers on mio by hand: one loop a worker, edge-triggered, one hot receive buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;

use limits::frames::Cutter;
use limits::options::{Options, Service};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use peers::{RECV_BYTES, UNSENT_BYTES_MAX, bad_frame, main_with, one_listener_each};

/// Events of one wait.
const EVENTS_MAX: usize = 256;

const LISTENER: Token = Token(usize::MAX);

fn main() -> ExitCode {
    main_with("peer_mio", |options: Options| {
        one_listener_each(options, move |listener| serve(listener, options.service))
    })
}

struct Connection {
    stream: TcpStream,
    cutter: Cutter,
    unsent: Vec<u8>,
}

struct Server {
    service: Service,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    inbox: Box<[u8]>,
    out: Vec<u8>,
}

fn serve(listener: std::net::TcpListener, service: Service) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        service,
        connections: Vec::new(),
        free: Vec::new(),
        inbox: vec![0; RECV_BYTES].into(),
        out: Vec::new(),
    };
    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept_all(&listener, &poll)?,
                Token(slot) => {
                    let ending = event.is_read_closed() || event.is_error();
                    if server.ready(slot, ending).is_err() {
                        server.close(slot);
                    }
                }
            }
        }
    }
}

impl Server {
    fn accept_all(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(slot), both)?;
            self.connections[slot] = Some(Connection {
                stream,
                cutter: Cutter::default(),
                unsent: Vec::new(),
            });
        }
    }

    fn close(&mut self, slot: usize) {
        if self.connections[slot].take().is_some() {
            self.free.push(slot);
        }
    }

    /// Reads until a short read, and answers each read with one write. An error closes.
    fn ready(&mut self, slot: usize, ending: bool) -> io::Result<()> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return Ok(());
            };
            connection.flush()?;
            if !connection.unsent.is_empty() {
                return Ok(());
            }
            let count = match connection.stream.read(&mut self.inbox) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let bytes = &self.inbox[..count];
            connection
                .cutter
                .take(bytes, &mut self.out)
                .map_err(bad_frame)?;
            match self.service {
                _ if self.out.is_empty() => {}
                Service::Echo => connection.send(&self.out)?,
                Service::Broadcast => self.send_to_all(),
            }
            if count < RECV_BYTES && !ending {
                return Ok(());
            }
        }
    }

    fn send_to_all(&mut self) {
        for slot in 0..self.connections.len() {
            if let Some(Some(member)) = self.connections.get_mut(slot)
                && member.send(&self.out).is_err()
            {
                self.close(slot);
            }
        }
    }
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            if self.unsent.len() > UNSENT_BYTES_MAX {
                return Err(ErrorKind::OutOfMemory.into());
            }
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }
}

/// Bytes that the socket took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
