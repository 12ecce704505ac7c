//! The driver against servers that have one fault each.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{Builder, JoinHandle};

use super::*;
use crate::lab::result::Faults;
use crate::lab::workload::Arrivals;

/// Bytes of a frame.
const SIZE: usize = 40;
/// The frame of each session whose answer is wrong.
const WRONG: u64 = 20;

/// What the server does with a session's frame number `WRONG`.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Lose,
    Double,
    Swap,
    Corrupt,
    Cut,
}

/// Answers the frames of one session until it ends.
fn serve(mut stream: TcpStream, fault: Fault) {
    let mut frame = [0; SIZE];
    let mut held: Option<[u8; SIZE]> = None;
    for number in 0u64.. {
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let mut answer = frame.to_vec();
        match fault {
            Fault::Lose if number == WRONG => answer.clear(),
            Fault::Double if number == WRONG => answer.extend_from_slice(&frame),
            Fault::Corrupt if number == WRONG => answer[SIZE - 1] ^= 1,
            Fault::Cut if number == WRONG => return,
            Fault::Swap if number == WRONG => {
                held = Some(frame);
                continue;
            }
            _ => {}
        }
        answer.extend(held.take().into_iter().flatten());
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// A server of so many sessions.
fn server(fault: Fault, sessions: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let accept = move || {
        let threads: Vec<_> = (0..sessions)
            .map(|session| {
                let (stream, _) = listener.accept().unwrap();
                let name = Builder::new().name(format!("session-{session}"));
                name.spawn(move || serve(stream, fault)).unwrap()
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    };
    let thread = Builder::new().name("server".into()).spawn(accept);
    (addr, thread.unwrap())
}

fn part(name: &str, role: Role, drive: Drive) -> Part {
    Part {
        name: name.into(),
        role,
        sessions: 2,
        frame_bytes: u16::try_from(SIZE).unwrap(),
        replies: true,
        drive,
    }
}

fn timing(clock: Clock) -> Timing {
    let start = clock.now() + 10_000_000;
    Timing {
        start,
        measure: start + 50_000_000,
        stop: start + 250_000_000,
    }
}

fn drive(fault: Fault, drive: Drive) -> Tally {
    let (addr, thread) = server(fault, 2);
    let mut driver = Driver::bind(vec![part("a", Role::Server, drive)]).unwrap();
    driver
        .connect(&BTreeMap::from([("a".into(), addr)]))
        .unwrap();
    let clock = Clock::new();
    let tally = driver.run(clock, timing(clock), 1).unwrap().remove(0);
    thread.join().unwrap();
    tally
}

fn open() -> Drive {
    Drive::Open(Spread::Rate {
        per_s: 2000.0,
        arrivals: Arrivals::Even,
    })
}

#[test]
fn an_open_loop_sends_what_is_due_and_checks_every_answer() {
    let tally = drive(Fault::None, open());
    assert_eq!(tally.faults, Faults::default());
    assert_eq!(
        (tally.sent, tally.verified),
        (499, 499),
        "250 ms at 2,000 a second"
    );
    assert_eq!(
        (tally.due, tally.unsent),
        (400, 0),
        "those of the last 200 ms"
    );
    assert_eq!((tally.latency.len(), tally.late.len()), (400, 400));
    assert!(tally.latency.min() >= tally.late.min());
}

#[test]
fn a_closed_loop_keeps_its_depth_on_the_way() {
    let tally = drive(Fault::None, Drive::Closed(3));
    assert_eq!(tally.faults, Faults::default());
    assert!(tally.sent >= 6 && tally.sent == tally.verified, "{tally:?}");
}

#[test]
fn a_silent_class_is_connected_and_sends_nothing() {
    let tally = drive(Fault::None, Drive::Silent);
    assert_eq!((tally.sent, tally.faults), (0, Faults::default()));
}

#[test]
fn each_fault_of_a_server_is_told() {
    let none = Faults::default();
    // One fault in each of two sessions. A corrupt frame is also one that never came.
    for (fault, told) in [
        (Fault::Lose, Faults { lost: 2, ..none }),
        (Fault::Double, Faults { doubled: 2, ..none }),
        (
            Fault::Swap,
            Faults {
                reordered: 2,
                ..none
            },
        ),
        (
            Fault::Corrupt,
            Faults {
                corrupt: 2,
                lost: 2,
                ..none
            },
        ),
    ] {
        assert_eq!(drive(fault, open()).faults, told);
    }
    let cut = drive(Fault::Cut, open());
    assert_eq!(cut.faults.cut, 2);
    assert!(cut.faults.lost >= 2 && cut.unsent > 0, "{:?}", cut.faults);
}

#[test]
fn links_are_waited_for_and_checked_as_players_are() {
    let parts = vec![part("link", Role::Client, Drive::Closed(1))];
    let mut driver = Driver::bind(parts).unwrap();
    let (name, addr) = driver.peers().unwrap().remove(0);
    assert_eq!(name, "link");
    let links: Vec<_> = (0..2)
        .map(|link| {
            let name = Builder::new().name(format!("link-{link}"));
            let serve = move || serve(TcpStream::connect(addr).unwrap(), Fault::None);
            name.spawn(serve).unwrap()
        })
        .collect();
    driver.connect(&BTreeMap::new()).unwrap();
    let clock = Clock::new();
    let tally = driver.run(clock, timing(clock), 1).unwrap().remove(0);
    links.into_iter().for_each(|link| link.join().unwrap());
    assert!(
        tally.verified > 0 && tally.faults == Faults::default(),
        "{tally:?}"
    );
}

#[test]
fn a_session_that_does_not_come_up_is_named() {
    let mut driver = Driver::bind(vec![part("game", Role::Server, Drive::Silent)]).unwrap();
    let error = driver.connect(&BTreeMap::new()).unwrap_err();
    assert!(
        error.message.contains("class game: session 1 of 2"),
        "{}",
        error.message
    );
    // A port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut driver = Driver::bind(vec![part("game", Role::Server, Drive::Silent)]).unwrap();
    let refused = driver.connect(&BTreeMap::from([("game".into(), addr)]));
    assert!(refused.is_err());
}
