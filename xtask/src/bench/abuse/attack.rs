//! The attackers of `bench-abuse`: a process of its own, on a core of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;
use socket2::{Domain, Socket, Type};

/// Attack a server on this machine: what `bench-abuse` runs beside its innocent clients
#[derive(Args)]
pub(crate) struct AttackArgs {
    /// What is done
    #[arg(value_enum)]
    kind: Kind,

    /// The server, on a loopback address
    #[arg(long)]
    connect: SocketAddr,

    /// How long
    #[arg(long)]
    seconds: f64,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// 5,000 connections that send a byte of a frame twice a second, and come again when cut
    Slowloris,
    /// Connects and resets, 100,000 at most, as fast as one thread can
    Storm,
    /// 10 sessions that send frames of 64 bytes as fast as they are taken, and read the replies
    Flood,
}

const SLOW: usize = 5000;
const STORM: u64 = 100_000;
const FLOODS: usize = 10;
const FRAME_BYTES: u16 = 64;

/// Attacks, and prints what came of it as JSON.
///
/// # Errors
/// Another machine's address; a server that is not there.
pub(crate) fn run(args: &AttackArgs, out: &mut dyn Write) -> Result<(), String> {
    if !args.connect.ip().is_loopback() {
        return Err("attacks are for servers on the loopback of this machine".into());
    }
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let told = match args.kind {
        Kind::Slowloris => slowloris(args.connect, until),
        Kind::Storm => storm(args.connect, until),
        Kind::Flood => flood(args.connect, until),
    };
    let told = told.map_err(|e| format!("the attack ended early: {e}"))?;
    writeln!(out, "{told}").map_err(|e| format!("cannot print: {e}"))
}

fn slowloris(to: SocketAddr, until: Instant) -> io::Result<serde_json::Value> {
    let (mut open, mut connects, mut cut) = (Vec::new(), 0_u64, 0_u64);
    while Instant::now() < until {
        let round = Instant::now();
        while open.len() < SLOW && Instant::now() < until {
            connects += 1;
            match TcpStream::connect(to) {
                Ok(stream) => {
                    stream.set_nonblocking(true)?;
                    open.push(stream);
                }
                Err(_) => break,
            }
        }
        // The second byte of the length says that much is to come.
        open.retain_mut(|stream| {
            let gone = stream.write(&[0xff]).is_err() || matches!(stream.read(&mut [0; 16]), Ok(0));
            cut += u64::from(gone);
            !gone
        });
        let pause = Duration::from_millis(500).saturating_sub(round.elapsed());
        std::thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(json!({ "connects": connects, "cut": cut, "open": open.len() }))
}

fn storm(to: SocketAddr, until: Instant) -> io::Result<serde_json::Value> {
    let (mut connects, mut refused) = (0, 0);
    let began = Instant::now();
    while connects < STORM && Instant::now() < until {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        // Each end is a reset: no port waits for a minute to be used again.
        socket.set_linger(Some(Duration::ZERO))?;
        match socket.connect_timeout(&to.into(), Duration::from_secs(1)) {
            Ok(()) => connects += 1,
            Err(_) => refused += 1,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "connects": connects, "refused": refused, "seconds": seconds }))
}

fn flood(to: SocketAddr, until: Instant) -> io::Result<serde_json::Value> {
    let mut frame = FRAME_BYTES.to_le_bytes().to_vec();
    frame.resize(usize::from(FRAME_BYTES), 7);
    let wire = frame.repeat(1024);
    let connect = || {
        let stream = TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        io::Result::Ok((stream, 0_usize))
    };
    let mut open = (0..FLOODS)
        .map(|_| connect())
        .collect::<io::Result<Vec<_>>>()?;
    let (mut sent, mut read, mut cut) = (0_u64, 0_u64, 0_u64);
    let mut inbox = vec![0; 256 * 1024];
    while Instant::now() < until && !open.is_empty() {
        let mut moved = false;
        open.retain_mut(|(stream, at)| {
            let mut alive = true;
            match stream.write(&wire[*at..]) {
                Ok(n) => {
                    *at = (*at + n) % wire.len();
                    sent += n as u64;
                    moved = true;
                }
                Err(error) => alive &= error.kind() == io::ErrorKind::WouldBlock,
            }
            match stream.read(&mut inbox) {
                Ok(0) => alive = false,
                Ok(n) => {
                    read += n as u64;
                    moved = true;
                }
                Err(error) => alive &= error.kind() == io::ErrorKind::WouldBlock,
            }
            cut += u64::from(!alive);
            alive
        });
        if !moved {
            std::thread::yield_now();
        }
    }
    let per_frame = u64::from(FRAME_BYTES);
    Ok(json!({ "frames": sent / per_frame, "answered": read / per_frame, "cut": cut }))
}
