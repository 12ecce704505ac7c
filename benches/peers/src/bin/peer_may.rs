//! The servers on may: a stackful coroutine a connection.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use limits::frames::Cutter;
use limits::options::{Options, Service};
use may::net::{TcpListener, TcpStream};
use may::sync::Mutex;
use peers::{RECV_BYTES, bad_frame, main_with};

/// What a connection reads into at first. It doubles when a read fills it, up to a recv of the
/// others.
const BUFFER_BYTES_FIRST: usize = 4 * 1024;

/// Words of a coroutine's stack: what may takes by default.
const STACK_WORDS: usize = 0x1000;

fn main() -> ExitCode {
    main_with("peer_may", |options: Options| {
        limits::sockets::raise_descriptor_limit().map_err(|e| format!("open files: {e}"))?;
        may::config()
            .set_workers(options.workers)
            .set_stack_size(STACK_WORDS);
        let named = |e: io::Error| format!("--listen {}: {e}", options.listen);
        let listener = TcpListener::bind(options.listen).map_err(named)?;
        println!("listening on {}", listener.local_addr().map_err(named)?);
        let room = Arc::new(Room::default());
        let serve = move || {
            for stream in listener.incoming() {
                let (stream, room) = (stream?, Arc::clone(&room));
                stream.set_nodelay(true)?;
                let member = move || match options.service {
                    Service::Echo => echo(stream),
                    Service::Broadcast => member(stream, &room),
                };
                drop(may::go!(member));
            }
            Ok::<(), io::Error>(())
        };
        let ended = may::go!(serve).join().map_err(|_| "it panicked")?;
        ended.map_err(|e| format!("accepting: {e}"))
    })
}

/// Reads and cuts until an end or an error, and gives what is whole to `answer`.
fn receive(
    stream: &mut TcpStream,
    mut answer: impl FnMut(&mut TcpStream, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES_FIRST];
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        cutter.take(&buffer[..count], &mut out).map_err(bad_frame)?;
        if !out.is_empty() {
            answer(stream, &out)?;
        }
        if count == buffer.len() && count < RECV_BYTES {
            buffer.resize(2 * count, 0);
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    receive(&mut stream, |stream, out| stream.write_all(out))
}

/// Who sends writes to every member, and waits for a slow one.
#[derive(Default)]
struct Room {
    members: Mutex<Vec<(usize, TcpStream)>>,
}

impl Room {
    fn all(&self) -> may::sync::MutexGuard<'_, Vec<(usize, TcpStream)>> {
        // A coroutine that panicked in the middle of a write has harmed only its own connection.
        self.members
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn member(mut stream: TcpStream, room: &Room) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let own = stream.as_raw_fd() as usize;
    room.all().push((own, stream.try_clone()?));
    let ended = receive(&mut stream, |_, out| {
        room.all()
            .retain_mut(|(_, member)| member.write_all(out).is_ok());
        Ok(())
    });
    room.all().retain(|(member, _)| *member != own);
    ended
}
