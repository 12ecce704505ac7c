//! The servers on tokio, a task a connection.
//!
//! A task reads into a buffer of its thread, not into one of its own: an idle connection keeps no
//! buffer, and what is read is hot. It reads by `poll_read`, which clears the readiness after a
//! short read (`try_read` would ask the kernel once more), and writes at once, waiting only where
//! the socket is full.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use limits::frames::Cutter;
use limits::options::{Options, Service};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::room::{Outbox, Room};
use crate::{RECV_BYTES, bad_frame, one_listener_each};

thread_local! {
    /// Where reads go, and where replies are built.
    static HOT: RefCell<(Box<[u8]>, Vec<u8>)> =
        RefCell::new((vec![0; RECV_BYTES].into(), Vec::new()));
}

/// A current-thread runtime a worker.
///
/// # Errors
/// What could not be bound or started.
pub fn sharded(options: Options) -> Result<(), String> {
    one_listener_each(options, move |listener| {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let serve = async move {
            let listener = TcpListener::from_std(listener)?;
            match options.service {
                Service::Echo => accept(&listener, |stream| drop(tokio::spawn(echo(stream)))).await,
                Service::Broadcast => {
                    let room = Rc::new(Room::default());
                    accept(&listener, |stream| {
                        tokio::task::spawn_local(member(stream, Rc::clone(&room)));
                    })
                    .await
                }
            }
        };
        LocalSet::new().block_on(&runtime, serve)
    })
}

/// One runtime whose workers steal from each other.
///
/// # Errors
/// What could not be bound or started.
pub fn stealing(options: Options) -> Result<(), String> {
    let workers = options.workers;
    let one = Options {
        workers: 1,
        ..options
    };
    one_listener_each(one, move |listener| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_io()
            .build()?;
        let serve = async move {
            let listener = TcpListener::from_std(listener)?;
            accept(&listener, |stream| drop(tokio::spawn(echo(stream)))).await
        };
        runtime.block_on(async { tokio::spawn(serve).await.map_err(io::Error::other)? })
    })
}

async fn accept(listener: &TcpListener, start: impl Fn(TcpStream)) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => start(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends, and closes the connection, with the first error.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut cutter = Cutter::default();
    loop {
        let unsent = poll_fn(|context| {
            receive(
                &mut stream,
                context,
                &mut cutter,
                |stream, out| match stream.try_write(out) {
                    Ok(sent) => Ok(out[sent..].to_vec()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(out.to_vec()),
                    Err(error) => Err(error),
                },
            )
        })
        .await?;
        send_rest(&unsent, || stream.writable(), |rest| stream.try_write(rest)).await?;
    }
}

/// One recv; what `answer` makes of its whole frames, if there are any.
fn receive<S: AsyncRead + Unpin, T: Default>(
    stream: &mut S,
    context: &mut Context<'_>,
    cutter: &mut Cutter,
    answer: impl Fn(&mut S, &[u8]) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    HOT.with_borrow_mut(|(inbox, out)| {
        let mut space = ReadBuf::new(inbox);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut space))?;
        if space.filled().is_empty() {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        cutter.take(space.filled(), out).map_err(bad_frame)?;
        if out.is_empty() {
            return Poll::Ready(Ok(T::default()));
        }
        Poll::Ready(answer(stream, out))
    })
}

async fn send_rest<F: Future<Output = io::Result<()>>>(
    mut rest: &[u8],
    writable: impl Fn() -> F,
    write: impl Fn(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    while !rest.is_empty() {
        writable().await?;
        match write(rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A member of the room: written to at once by whoever sends, and by a task of its own only for
/// what the socket did not take.
struct Member {
    half: OwnedWriteHalf,
    outbox: Outbox,
    /// Its task has taken bytes out that are not yet sent.
    behind: std::cell::Cell<bool>,
}

impl Member {
    fn send(&self, bytes: &[u8]) -> bool {
        if self.behind.get() {
            return self.outbox.put(bytes);
        }
        let sent = match self.half.try_write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        if sent == bytes.len() {
            return true;
        }
        self.behind.set(true);
        self.outbox.put(&bytes[sent..])
    }

    async fn catch_up(self: Rc<Self>) -> io::Result<()> {
        let mut bytes = Vec::new();
        while let Some(next) = self.outbox.take(bytes).await {
            bytes = next;
            send_rest(
                &bytes,
                || self.half.writable(),
                |rest| self.half.try_write(rest),
            )
            .await?;
            self.behind.set(!self.outbox.is_empty());
        }
        Ok(())
    }
}

async fn member(stream: TcpStream, room: Rc<Room<Member>>) {
    let (mut reader, half) = stream.into_split();
    let member = Rc::new(Member {
        half,
        outbox: Outbox::default(),
        behind: std::cell::Cell::new(false),
    });
    let number = room.enter(Rc::clone(&member));
    tokio::task::spawn_local(Rc::clone(&member).catch_up());
    let mut cutter = Cutter::default();
    while poll_fn(|context| {
        receive(&mut reader, context, &mut cutter, |_, out| {
            room.for_all(|member| member.send(out));
            Ok(())
        })
    })
    .await
    .is_ok()
    {}
    room.leave(number);
    member.outbox.close();
}
