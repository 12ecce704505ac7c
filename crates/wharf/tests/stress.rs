//! Four workers and two hundred connections that talk, and end in every way there is, for
//! `WHARF_STRESS_SECONDS` (2 unless set): every byte of every answer is checked, and no handle
//! stays open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "what was counted, for who runs it by hand"
)]

#[path = "stress/handles.rs"]
mod handles;
#[path = "stress/peer.rs"]
mod peer;
#[path = "stress/server.rs"]
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{Crowd, Tally};
use server::Ledger;

const WORKERS: usize = 4;
const CONNECTIONS: u32 = 200;

/// Threads that play the peers; each has its share of the connections.
const CROWDS: u32 = 4;

/// How long the server may take to see that its peers are gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for everything that a process sets up once.
const WARM_UP: Duration = Duration::from_millis(500);

#[test]
fn nothing_is_lost_doubled_or_reordered_and_no_handle_leaks() {
    let seconds = std::env::var("WHARF_STRESS_SECONDS").map_or(2, |text| text.parse().unwrap());
    run(WARM_UP);
    let before = handles::count();
    let (ledger, tally) = run(Duration::from_secs(seconds));
    println!("{tally}, {seconds} s; {before} handles before");
    handles::await_count(before);
    let frames = tally.frames;
    assert!(
        frames > 0 && tally.ends.iter().all(|&count| count > 0),
        "each way to end: {tally}"
    );
    // What peers that cut their connection had sent may have come or not.
    let came = ledger.frames();
    let sent = frames + tally.frames_cut;
    assert!(
        (frames..=sent).contains(&came),
        "{came} frames came of {frames} to {sent}"
    );
    assert_eq!(
        ledger.opened(),
        ledger.closed(),
        "an on_close for each on_open"
    );
    assert!(
        ledger.opened() <= tally.connects,
        "{} of {}",
        ledger.opened(),
        tally.connects
    );
    assert!(
        ledger.opened() >= tally.connects - tally.cut(),
        "{}",
        ledger.opened()
    );
}

/// One host from start to stop, under all connections. Returns what each side counted.
fn run(time: Duration) -> (Arc<Ledger>, Tally) {
    let (mut host, addr, ledger) = server::start(WORKERS);
    let tally = play(addr, Instant::now() + time);
    // All peers are gone, some before they were taken and nothing was said. Every session finds out
    // by itself before the host stops.
    let begun = Instant::now();
    let uncut = tally.connects - tally.cut();
    while ledger.opened() < uncut || ledger.closed() < ledger.opened() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {} ended; {uncut} connected",
            ledger.closed(),
            ledger.opened()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    host.stop().unwrap();
    let stats = host.stats();
    let net = stats.network("echo").unwrap();
    assert_eq!(
        (net.sessions, net.sessions_live, net.panics),
        (0, 0, 0),
        "{net:#?}"
    );
    assert_eq!(net.opened, net.ended, "{net:#?}");
    assert_eq!(ledger.faults(), Vec::<String>::new());
    (ledger, tally)
}

fn play(addr: SocketAddr, until: Instant) -> Tally {
    let crowd = |number| {
        let mut crowd = Crowd::new(addr, number, CONNECTIONS / CROWDS);
        std::thread::Builder::new()
            .name(format!("peers-{number}"))
            .spawn(move || {
                while Instant::now() < until {
                    crowd.round();
                }
                crowd.leave()
            })
            .unwrap()
    };
    let threads: Vec<_> = (0..CROWDS).map(crowd).collect();
    let tallies = threads.into_iter().map(|thread| thread.join().unwrap());
    tallies.reduce(Tally::add).unwrap()
}
