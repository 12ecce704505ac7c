//! The servers on compio: a runtime a worker on io_uring, a task a connection, one multishot recv
//! a connection into the runtime's pool of buffers.
//!
//! The ring's flags are those that measured best: `SINGLE_ISSUER` and `COOP_TASKRUN`.

use std::future::poll_fn;
use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;

use compio::buf::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncReadMulti, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use futures_util::StreamExt;
use limits::frames::Cutter;
use limits::options::{Options, Service};
use peers::room::{Outbox, Room};
use peers::{bad_frame, main_with, one_listener_each};

/// The pool of a runtime: 2 MiB, which stays in the L2 cache.
const BUFFERS: NonZero<u16> = NonZero::new(128).expect("not 0");
const BUFFER_BYTES: usize = 16 * 1024;

fn main() -> ExitCode {
    main_with("peer_compio", |options: Options| {
        one_listener_each(options, move |listener| serve(listener, options.service))
    })
}

fn serve(listener: std::net::TcpListener, service: Service) -> io::Result<()> {
    let mut ring = ProactorBuilder::new();
    ring.single_issuer(true)
        .coop_taskrun(true)
        .capacity(1024)
        .buffer_pool_size(BUFFERS)
        .buffer_pool_buffer_len(BUFFER_BYTES);
    let runtime = RuntimeBuilder::new().with_proactor(ring).build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        let room = Rc::new(Room::default());
        loop {
            let (stream, _) = listener.accept().await?;
            match service {
                Service::Echo => compio::runtime::spawn(echo(stream)).detach(),
                Service::Broadcast => {
                    compio::runtime::spawn(member(stream, Rc::clone(&room))).detach();
                }
            }
        }
    })
}

/// Ends, and closes the connection, with the first error.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut writer = &stream;
    receive(&stream, async |frames| {
        let BufResult(done, buffer) = writer.write_all(frames).await;
        done.map(|()| buffer)
    })
    .await
}

/// Hands whole frames on as they come, to the end of the stream; it gets the buffer back.
async fn receive(
    mut stream: &TcpStream,
    mut take: impl AsyncFnMut(Vec<u8>) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    loop {
        let mut chunks = pin!(stream.read_multi(0));
        while let Some(chunk) = chunks.next().await {
            let Some(chunk) = unless_starved(chunk)? else {
                break;
            };
            if chunk.is_empty() {
                return Ok(());
            }
            cutter.take(&chunk, &mut out).map_err(bad_frame)?;
            // The buffer goes back to the pool before a write waits.
            drop(chunk);
            if !out.is_empty() {
                out = take(out).await?;
            }
        }
        others_first().await;
    }
}

/// `None` where the pool had no buffer left (compio's `ResourceBusy`, the ring's `ENOBUFS`): that
/// ends the receive, and not the connection.
fn unless_starved<T>(received: io::Result<T>) -> io::Result<Option<T>> {
    match received {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
        received => received.map(Some),
    }
}

/// Lets the tasks run that hold the buffers.
async fn others_first() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn member(stream: TcpStream, room: Rc<Room<Outbox>>) {
    let outbox = Rc::new(Outbox::default());
    let number = room.enter(Rc::clone(&outbox));
    compio::runtime::spawn(send(stream.clone(), Rc::clone(&outbox))).detach();
    // Its end is the end of the membership, whatever the reason.
    let _ = receive(&stream, async |frames| {
        room.for_all(|member| member.put(&frames));
        Ok(frames)
    })
    .await;
    room.leave(number);
    outbox.close();
}

async fn send(mut stream: TcpStream, outbox: Rc<Outbox>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some(next) = outbox.take(bytes).await {
        let BufResult(done, buffer) = stream.write_all(next).await;
        done?;
        bytes = buffer;
    }
    Ok(())
}
