//! The world of real sockets: peers are plain non-blocking `TcpStream`s on loopback.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::peer::{End, Got};

/// How long anything that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn connect(
    from: Option<IpAddr>,
    to: SocketAddr,
    buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(ip) = from {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    if let Some(bytes) = buffer {
        // Before the connect: the window is announced with it.
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    if cfg!(windows) {
        // The other one fails under Wine when the server has closed by the time it looks: "no error
        // set after POLLHUP". On loopback this one ends at once too.
        socket.connect(&to.into())?;
    } else {
        socket.connect_timeout(&to.into(), PATIENCE)?;
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A socket that has this address to itself and does not listen.
pub(super) fn bound(addr: SocketAddr) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.bind(&addr.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

pub(super) fn listen(socket: Socket) -> TcpListener {
    socket.listen(128).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

pub(super) fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            Some(stream)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        // Broken off before it was taken, as Wine says it.
        Err(error) if error.kind() == ErrorKind::NotConnected => None,
        Err(error) => panic!("a test's listener failed: {error}"),
    }
}

pub(super) fn until(what: &str, holds: &mut dyn FnMut() -> bool) {
    let began = Instant::now();
    for look in 0.. {
        if holds() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        if look < 20 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Has the calling thread make its first socket calls: on Windows (under Wine at least) they open
/// a handle that is the thread's own, and so no leak of whoever is tested.
pub(super) fn warm_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    drop((one, other));
}

/// Whether a stream that says it has ended was reset: Wine 8 tells a reset that came while nobody
/// was reading as an end of stream. A stream that has ended has a peer until we end it too.
pub(super) fn was_reset(stream: &TcpStream) -> bool {
    let gone = |error: io::Error| error.kind() == ErrorKind::NotConnected;
    cfg!(windows) && stream.peer_addr().is_err_and(gone)
}

/// What `look` says when it has said the same for a while.
pub(super) fn settled<T: PartialEq>(look: impl Fn() -> T) -> T {
    let mut last = look();
    let mut same = 0;
    while same < 5 {
        std::thread::sleep(Duration::from_millis(5));
        let now = look();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

pub(super) fn read(stream: &TcpStream, into: &mut Vec<u8>, max: usize) -> Got {
    let mut buffer = [0; 16 * 1024];
    let mut stream = stream;
    let room = buffer.len().min(max);
    match stream.read(&mut buffer[..room]) {
        Ok(0) if room > 0 => Got::End(End::Fin),
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Got::Bytes
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn write(stream: &TcpStream, bytes: &[u8]) -> Result<usize, End> {
    let mut stream = stream;
    match stream.write(bytes) {
        Ok(count) => Ok(count),
        // Of how the connection ended this says nothing.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(End::Fin),
        Err(error) => match failed(&error) {
            Got::End(end) => Err(end),
            _ => Ok(0),
        },
    }
}

fn failed(error: &io::Error) -> Got {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Got::Nothing,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            Got::End(End::Reset)
        }
        kind => panic!("a peer's socket failed: {kind:?}, {error}"),
    }
}

/// The stream's close will be a reset.
pub(super) fn reset_on_close(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
