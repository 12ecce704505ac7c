//! Faults in the protocols of the core that models or a close look brought up, each under the name
//! of what must not happen again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

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
