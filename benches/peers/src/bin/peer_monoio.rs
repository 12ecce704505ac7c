//! The servers on monoio: a runtime a worker on io_uring, a task a connection that owns its buffer.
//!
//! The ring's flags are those that measured best: `SINGLE_ISSUER` and `COOP_TASKRUN`.

use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use io_uring::IoUring;
use limits::frames::Cutter;
use limits::options::{Options, Service};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use peers::room::{Outbox, Room};
use peers::{RECV_BYTES, bad_frame, main_with, one_listener_each};

/// What a connection reads into at first. It doubles when a read fills it, up to a recv of the
/// others.
const BUFFER_BYTES_FIRST: usize = 4 * 1024;

fn main() -> ExitCode {
    main_with("peer_monoio", |options: Options| {
        one_listener_each(options, move |listener| serve(listener, options.service))
    })
}

fn serve(listener: std::net::TcpListener, service: Service) -> io::Result<()> {
    let mut ring = IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .uring_builder(ring)
        .with_entries(1024)
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        let room = Rc::new(Room::default());
        loop {
            let (stream, _) = listener.accept().await?;
            match service {
                Service::Echo => drop(monoio::spawn(echo(stream))),
                Service::Broadcast => drop(monoio::spawn(member(stream, Rc::clone(&room)))),
            }
        }
    })
}

/// What was read into its first bytes, and the buffer for the next read: a larger one if this one
/// was filled.
fn grown(buffer: Vec<u8>, count: usize) -> Vec<u8> {
    if count < buffer.capacity() || count >= RECV_BYTES {
        return buffer;
    }
    Vec::with_capacity(2 * buffer.capacity())
}

/// Ends, and closes the connection, with the first error.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES_FIRST);
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    loop {
        let (count, back) = stream.read(buffer).await;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        cutter.take(&back[..count], &mut out).map_err(bad_frame)?;
        buffer = grown(back, count);
        if !out.is_empty() {
            let (done, back) = stream.write_all(out).await;
            done?;
            out = back;
        }
    }
}

async fn member(stream: TcpStream, room: Rc<Room<Outbox>>) {
    let (reader, mut writer) = stream.into_split();
    let outbox = Rc::new(Outbox::default());
    let number = room.enter(Rc::clone(&outbox));
    let queue = Rc::clone(&outbox);
    monoio::spawn(async move {
        let mut bytes = Vec::new();
        while let Some(next) = queue.take(bytes).await {
            let (done, back) = writer.write_all(next).await;
            if done.is_err() {
                return;
            }
            bytes = back;
        }
    });
    // Its end is the end of the membership, whatever the reason.
    let _ = receive(reader, &room).await;
    room.leave(number);
    outbox.close();
}

async fn receive(mut reader: impl AsyncReadRent, room: &Room<Outbox>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES_FIRST);
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    loop {
        let (count, back) = reader.read(buffer).await;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        cutter.take(&back[..count], &mut out).map_err(bad_frame)?;
        buffer = grown(back, count);
        if !out.is_empty() {
            room.for_all(|member| member.put(&out));
        }
    }
}
