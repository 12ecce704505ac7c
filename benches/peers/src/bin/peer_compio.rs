//! The servers on compio: a runtime a worker on io_uring, a task a connection, one multishot recv
//! a connection into the runtime's pool of buffers.
//!
//! The ring's flags are those that measured best: `SINGLE_ISSUER` and `COOP_TASKRUN`.

use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;

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
    let (mut reader, mut writer) = (&stream, &stream);
    let mut chunks = pin!(reader.read_multi(0));
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if chunk.is_empty() {
            break;
        }
        cutter.take(&chunk, &mut out).map_err(bad_frame)?;
        // The buffer goes back to the pool before the write waits.
        drop(chunk);
        if !out.is_empty() {
            let BufResult(done, buffer) = writer.write_all(out).await;
            done?;
            out = buffer;
        }
    }
    Ok(())
}

async fn member(stream: TcpStream, room: Rc<Room<Outbox>>) {
    let outbox = Rc::new(Outbox::default());
    let number = room.enter(Rc::clone(&outbox));
    compio::runtime::spawn(send(stream.clone(), Rc::clone(&outbox))).detach();
    // Its end is the end of the membership, whatever the reason.
    let _ = receive(&stream, &room).await;
    room.leave(number);
    outbox.close();
}

async fn receive(mut stream: &TcpStream, room: &Room<Outbox>) -> io::Result<()> {
    let mut chunks = pin!(stream.read_multi(0));
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if chunk.is_empty() {
            break;
        }
        cutter.take(&chunk, &mut out).map_err(bad_frame)?;
        if !out.is_empty() {
            room.for_all(|member| member.put(&out));
        }
    }
    Ok(())
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
