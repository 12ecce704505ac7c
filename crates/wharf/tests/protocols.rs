//! Faults in the protocols of the core that models or a close look brought up, each under the name
//! of what must not happen again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use wharf::sim::{Faults, Sim};
use wharf::{Frame, Handler, Host, Refuse, SendQueueLimits, Session};

/// Sends so many bytes on open, in frames of 1 KiB.
struct Talks(usize);

impl Handler for Talks {
    type State = ();

    fn on_open(&self, session: &Session<Self>) -> Result<(), Refuse> {
        for _ in 0..self.0 / 1024 {
            session
                .send(&[7; 1022])
                .map_err(|e| Refuse::new(e.to_string()))?;
        }
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Ok(())
    }
}

fn turns(host: &Host) -> u64 {
    let stats = host.stats();
    let workers = stats.ports.iter().flat_map(|port| &port.workers);
    workers.map(|worker| worker.turns).sum()
}

/// A peer that has ended its stream stays readable for ever, and each of its acknowledgements is
/// an edge that says so. The goodbye once took turn after turn until the last byte was written.
#[test]
fn a_goodbye_to_a_slow_reader_does_not_spin() {
    const BYTES: usize = 16 * 1024 * 1024;
    let mut host = Host::new();
    let limits = SendQueueLimits {
        bytes_max: 2 * BYTES,
        frames_max: BYTES,
        ..SendQueueLimits::default()
    };
    let server = host.server("talk", Talks(BYTES)).workers(2);
    let server = server.send_queue(limits).listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let mut peer = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let (mut read, mut reads) = (0, 0);
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match peer.read(&mut chunk).unwrap() {
            0 => break,
            n => read += n,
        }
        reads += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read, BYTES);
    let turns = turns(&host);
    assert!(
        turns < 1000,
        "{turns} turns while the peer read {reads} times"
    );
    host.stop().unwrap();
}

/// A connect under way when its host stops: nobody waits for it, so neither does the stop.
#[test]
fn a_stop_cuts_what_is_connecting() {
    for seed in 0..20 {
        let faults = Faults {
            delay_max: Duration::from_secs(3),
            ..Faults::none()
        };
        let sim = Sim::with_faults(seed, faults);
        let listener = sim.listen("10.0.0.9:9000".parse().unwrap()).unwrap();
        let mut host = Host::simulated(&sim);
        let client = host.client("up", Talks(0)).workers(1);
        client.connect(listener.local_addr()).unwrap();
        host.start().unwrap();
        sim.run_for(Duration::from_millis(1)).unwrap();
        let before = sim.now();
        host.stop().unwrap();
        let took = sim.now() - before;
        assert!(took < Duration::from_secs(1), "seed {seed}: {took:?}");
        let turns = turns(&host);
        assert!(turns < 10, "seed {seed}: {turns} turns");
    }
}
