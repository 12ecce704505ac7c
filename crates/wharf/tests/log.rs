//! What the log says of links and sessions.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wharf::sim::{Faults, Sim};
use wharf::{Error, Frame, Handler, Host, Refuse, Session};

/// Keeps a line for each event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn with(&self, words: &[&str]) -> usize {
        let lines = self.0.lock().unwrap();
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        lines.iter().filter(has).count()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with("wharf")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

/// Fails on each frame.
struct Fails;

impl Handler for Fails {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Err(Error::handler("no such spell"))
    }
}

/// Only the first outage was told, before the first connection ever.
#[test]
fn a_link_tells_each_outage_once() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let sim = Sim::with_faults(1, Faults::none());
        let mut host = Host::simulated(&sim);
        let addr = "10.0.0.9:9000";
        let link = host.client("chat", Fails).connect(addr).unwrap();
        host.start().unwrap();
        sim.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(lines.with(&["WARN", "could not connect", addr]), 1);
        for outage in 1..=3 {
            let listener = sim.listen(addr.parse().unwrap()).unwrap();
            sim.run_until(|| link.sessions().len() == 1).unwrap();
            let served = listener.accept().unwrap();
            assert_eq!(lines.with(&["INFO", "a link is open"]), outage);
            // Of an outage that ends at once, and of two that follow a stable connection.
            sim.run_for(Duration::from_secs(if outage == 1 { 0 } else { 20 }))
                .unwrap();
            drop(listener);
            served.shutdown_write();
            sim.run_until(|| link.sessions().is_empty()).unwrap();
            drop(served);
            // Longer than the longest pause.
            sim.run_for(Duration::from_secs(120)).unwrap();
            let lost = ["WARN", "was lost", "the peer closed the connection"];
            assert_eq!(lines.with(&lost), outage);
            assert_eq!(lines.with(&["WARN", "could not connect"]), outage + 1);
        }
        host.stop().unwrap();
    });
}

#[test]
fn what_a_handler_failed_with_can_be_read() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let sim = Sim::with_faults(1, Faults::none());
        let mut host = Host::simulated(&sim);
        let server = host.server("game", Fails);
        let network = server.listen("10.0.0.1:80").unwrap();
        host.start().unwrap();
        let peer = sim.connect("10.0.0.1:80".parse().unwrap());
        sim.run_until(|| network.sessions().len() == 1).unwrap();
        assert_eq!(peer.write(b"\x04\0hi").unwrap(), 4);
        sim.run_until(|| network.sessions().is_empty()).unwrap();
        let ends = ["DEBUG", "a session ends", "no such spell", "game"];
        assert_eq!(lines.with(&ends), 1);
        host.stop().unwrap();
    });
}
