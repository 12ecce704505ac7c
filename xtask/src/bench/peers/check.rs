//! A server must be right before its speed means anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::cells::Cell;
use super::sample::{self, Report};
use super::servers::Server;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Frames whose cuts are drawn, and the largest of them.
const FRAMES: usize = 200;
const FRAME_BYTES_MAX: usize = 65_535;

/// Fixed, so that what fails once fails again.
const SEED: u64 = 0x70_65_65_72;

/// Frames cut anywhere, a wrong length, 64 echoing connections; a room that hears every frame in
/// order. The load generator checks each byte of the last two.
pub(super) fn check(server: &Server, program: &str) -> Result<(), String> {
    let named = |what: &'static str| move |why: String| format!("{what}: {why}");
    cut_frames(server).map_err(named("frames cut anywhere"))?;
    wrong_length(server).map_err(named("a wrong length"))?;
    for (cell, what) in [
        ("echo-64x4-300", "64 echoing connections"),
        ("echo-16x4-16384-2w", "two workers"),
        ("broadcast-3x40-700", "a room"),
    ] {
        let cell = Cell::parse(cell).ok_or("a cell of the check")?;
        if !server.takes_part_in(&cell) {
            continue;
        }
        under_load(server, &cell, program).map_err(named(what))?;
    }
    Ok(())
}

fn under_load(server: &Server, cell: &Cell, program: &str) -> Result<(), String> {
    let (mut running, address) = sample::start(server, cell)?;
    let mut load = sample::load(program, cell, &address, &["--seconds", "0.3"], &[])?;
    Report::read(&load.output(ANSWER_LIMIT)?, cell)?;
    running.end()
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
    let limits = stream
        .set_read_timeout(Some(ANSWER_LIMIT))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_LIMIT)))
        .and_then(|()| stream.set_nodelay(true));
    limits.map_err(|e| e.to_string())?;
    Ok(stream)
}

fn frame(length: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
    bytes[..2].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    bytes
}

/// Small frames, large ones and the largest, sent in pieces of any size while a thread reads.
fn cut_frames(server: &Server) -> Result<(), String> {
    let cell = Cell::parse("echo-1x1-64").ok_or("a cell of the check")?;
    let (mut running, address) = sample::start(server, &cell)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut sent = frame(4, &mut random);
    sent.extend(frame(FRAME_BYTES_MAX, &mut random));
    for _ in 0..FRAMES {
        let most = if random.bool() { 64 } else { 20_000 };
        let length = random.usize(4..most);
        sent.extend(frame(length, &mut random));
    }
    let mut stream = connect(&address)?;
    let mut reader = stream.try_clone().map_err(|e| e.to_string())?;
    let mut back = vec![0; sent.len()];
    let reading = std::thread::Builder::new()
        .name("check-reader".into())
        .spawn(move || reader.read_exact(&mut back).map(|()| back))
        .map_err(|e| e.to_string())?;
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        let most = if random.bool() { 9 } else { 30_000 };
        let (piece, later) = rest.split_at(random.usize(1..=most.min(rest.len())));
        stream
            .write_all(piece)
            .map_err(|e| format!("sending: {e}"))?;
        rest = later;
    }
    let back = reading.join().map_err(|_| "the reader panicked")?;
    let back = back.map_err(|e| format!("the replies: {e}"))?;
    if back != sent {
        let at = back.iter().zip(&sent).position(|(a, b)| a != b);
        return Err(format!("the replies differ from byte {at:?} on"));
    }
    drop(stream);
    running.end()
}

/// It closes the connection that sent it, and no other.
fn wrong_length(server: &Server) -> Result<(), String> {
    let cell = Cell::parse("echo-1x1-64").ok_or("a cell of the check")?;
    let (mut running, address) = sample::start(server, &cell)?;
    let (mut good, mut bad) = (connect(&address)?, connect(&address)?);
    // Below the two bytes of the length itself: no framing can take it.
    bad.write_all(&[1, 0, 0, 0]).map_err(|e| e.to_string())?;
    match bad.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => return Err(format!("an end was expected, and there was {other:?}")),
    }
    let hello = frame(32, &mut fastrand::Rng::with_seed(SEED));
    let mut back = vec![0; hello.len()];
    good.write_all(&hello).map_err(|e| e.to_string())?;
    good.read_exact(&mut back)
        .map_err(|e| format!("the other connection: {e}"))?;
    if back != hello {
        return Err("the other connection's reply differs".into());
    }
    drop((good, bad));
    running.end()
}
