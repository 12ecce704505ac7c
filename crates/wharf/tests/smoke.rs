//! One echo through everything, on real sockets and simulated.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wharf::{Frame, Handler, Host, Refuse, Session};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

#[test]
fn echo_on_sockets() {
    let mut host = Host::new();
    let echo = host
        .server("echo", Echo)
        .workers(2)
        .listen("127.0.0.1:0")
        .unwrap();
    host.start().unwrap();
    let mut peer = TcpStream::connect(echo.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for n in 0..1000u32 {
        let mut frame = 8u16.to_le_bytes().to_vec();
        frame.extend([0, 0]);
        frame.extend(n.to_le_bytes());
        peer.write_all(&frame).unwrap();
        let mut back = [0; 8];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(back[..], frame[..]);
    }
    let stats = host.stats();
    assert_eq!(stats.network("echo").unwrap().frames_in, 1000);
    host.stop().unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

#[cfg(feature = "sim")]
#[test]
fn echo_simulated() {
    for seed in 0..200 {
        let sim = wharf::sim::Sim::new(seed);
        let mut host = Host::simulated(&sim);
        let echo = host
            .server("echo", Echo)
            .workers(2)
            .listen("10.0.0.1:80")
            .unwrap();
        host.start().unwrap();
        let peer = sim.connect(echo.local_addr().unwrap());
        sim.run_until(|| peer.is_connected()).unwrap();
        let mut sent = Vec::new();
        for n in 0..50u32 {
            sent.extend(8u16.to_le_bytes());
            sent.extend([0, 0]);
            sent.extend(n.to_le_bytes());
        }
        let (mut at, mut back) = (0, Vec::new());
        let done = sim.run_until(|| {
            at += peer.write(&sent[at..]).unwrap_or(0);
            let _ = peer.read(&mut back);
            back.len() == sent.len()
        });
        done.unwrap_or_else(|stuck| panic!("{stuck}\n{}", sim.log().join("\n")));
        assert_eq!(back, sent);
        host.stop().unwrap();
    }
}
