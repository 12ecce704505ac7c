//! G9: user code that panics closes its own session, and nothing else.

use std::fmt;
use std::panic::resume_unwind;

use wharf::frame::{Codec, Decoded, FrameError};
use wharf::{CloseReason, Error, ErrorKind, Framing, SendError, Session};

use crate::support::{Act, At, Layout, Role, World, check_stopped};

/// Panics without a word on stderr.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("asked to"))
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_quietly();
        }
    }
}

/// An error that can't be told.
#[derive(Debug)]
struct PanicsWhenShown;

impl fmt::Display for PanicsWhenShown {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_quietly()
    }
}

impl std::error::Error for PanicsWhenShown {}

/// Frames of one byte; three of them are not what they seem.
#[derive(Debug)]
struct Bytewise;

impl Codec for Bytewise {
    fn decode(&self, bytes: &[u8], _: usize) -> Result<Decoded, FrameError> {
        match bytes.first() {
            Some(b'D') => panic_quietly(),
            Some(_) => Ok(Decoded::Frame {
                wire_len: 1,
                payload: 0..1,
            }),
            None => Ok(Decoded::Partial { wire_bytes_min: 1 }),
        }
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if payload == b"E" {
            panic_quietly();
        }
        out.extend_from_slice(payload);
        Ok(())
    }

    fn frame_bytes_max(&self) -> usize {
        1
    }
}

type State = Option<PanicsWhenDropped>;

/// Panics where the frame says.
fn panics_as_asked() -> Act<State> {
    let handler = Act::new(|s: &Session<Act<State>>| {
        s.send(b"o").unwrap();
        Ok(None)
    });
    let handler = handler.on_frame(|s, state, payload| {
        match payload[0] {
            b'f' => {
                s.send(b"1")?;
                panic_quietly();
            }
            b'j' => s.post(|s, _| {
                s.send(b"1").unwrap();
                panic_quietly();
            })?,
            b'J' => {
                let bomb = PanicsWhenDropped;
                s.post(move |_, _| drop(bomb))?;
            }
            b's' => *state = Some(PanicsWhenDropped),
            b'e' => s.send(b"E")?,
            b'w' => s.send_with::<SendError>(|_| panic_quietly())?,
            b'r' => return Err(Error::new(ErrorKind::Handler, "it").caused_by(PanicsWhenShown)),
            _ => s.send(payload)?,
        }
        Ok(())
    });
    handler.on_close(|_, state, reason| {
        if reason == CloseReason::PeerClosed && state.is_none() {
            panic_quietly();
        }
    })
}

/// Where user code panics, and what its peer gets before the end of the stream.
const PANICS: [(&[u8], &[u8]); 9] = [
    (b"f", b"o1"),
    (b"j", b"o1"),
    (b"J", b"o"),
    (b"s", b"o"),
    (b"e", b"o"),
    (b"w", b"o"),
    (b"r", b"o"),
    (b"D", b"o"),
    (b"", b"o"),
];

/// Each kind of panic, more often than there are workers. A bystander and new sessions are served
/// after each, and every worker is still there: with all but one held the last one serves.
pub(crate) fn panic_is_contained(w: &World, layout: Layout) {
    let mut host = w.host();
    let mut ports = layout.ports();
    let port = ports.get(&mut host, Role::Main);
    let handler = panics_as_asked();
    let ledger = handler.ledger();
    let framing = Framing::custom(Bytewise);
    let game = host.server("game", handler).at(&port).framing(framing);
    let game = game.handshake_timeout(None).listen(w.any_addr()).unwrap();
    let hold = w.hold();
    let stuck = hold.clone();
    let calm = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == b"stick" {
            stuck.enter();
        }
        Ok(s.send(payload)?)
    });
    let calm = host.server("calm", calm).at(&port).handshake_timeout(None);
    let calm = calm.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut bystander = w.connect(game.local_addr().unwrap());
    assert_eq!(bystander.read(1), b"o");

    let mut panics = 0;
    for (ask, answer) in PANICS {
        for _ in 0..layout.main_workers() + 1 {
            let mut peer = w.connect(game.local_addr().unwrap());
            peer.write(ask);
            if ask.is_empty() || ask == b"s" {
                // The panic is in on_close, or in what it drops.
                peer.half_close();
            }
            peer.expect_fin();
            assert_eq!(peer.inbox, answer, "{ask:?}");
            panics += 1;
            bystander.write(b"x");
            assert_eq!(bystander.read(1), b"x");
        }
    }
    let workers = port.workers();
    let mut held: Vec<_> = (1..workers)
        .map(|_| w.connect(calm.local_addr().unwrap()))
        .collect();
    for (index, peer) in held.iter_mut().enumerate() {
        peer.send(b"stick");
        w.until("a worker is stuck", || hold.entered() == index + 1);
    }
    bystander.write(b"y");
    assert_eq!(bystander.read(1), b"y");
    hold.release();
    drop(held);
    // It would panic in on_close as well: counted like the others.
    bystander.half_close();
    bystander.expect_fin();
    drop(bystander);
    host.stop().unwrap();
    ledger.check_all_closed();
    let stats = host.stats();
    check_stopped(&stats);
    assert_eq!(stats.network("game").unwrap().panics, panics + 1);
}
