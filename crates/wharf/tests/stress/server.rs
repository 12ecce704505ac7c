//! The server: echoes, holds each session to its order, and closes or cuts it when it is asked to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use wharf::{CloseReason, Frame, Framing, Handler, Host, Refuse, Session};

use crate::peer::{Order, header};

/// So many faults are kept; more say nothing new.
const FAULTS_MAX: usize = 10;

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Ledger {
    opened: AtomicU64,
    closed: AtomicU64,
    frames: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Ledger {
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn fault(&self, text: String) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < FAULTS_MAX {
            faults.push(text);
        }
    }
}

struct Echo(Arc<Ledger>);

/// The next frame of a session, once the first has told whose it is.
#[derive(Default)]
struct Turn {
    connection: Option<u32>,
    next: u32,
}

impl Handler for Echo {
    type State = Turn;

    fn on_open(&self, _: &Session<Self>) -> Result<Turn, Refuse> {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Turn::default())
    }

    fn on_frame(&self, s: &Session<Self>, turn: &mut Turn, frame: Frame<'_>) -> wharf::Result<()> {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
        let (connection, number, order) = header(frame.payload());
        let whose = *turn.connection.get_or_insert(connection);
        if (connection, number) != (whose, turn.next) {
            let wanted = turn.next;
            self.0.fault(format!(
                "{whose}: {connection}:{number} instead of {wanted}"
            ));
        }
        turn.next = number.wrapping_add(1);
        if order == Order::Cut {
            s.abort();
            return Ok(());
        }
        s.send(frame.payload())?;
        if order == Order::Close {
            s.close();
        }
        Ok(())
    }

    fn on_close(&self, _: &Session<Self>, turn: Turn, why: CloseReason) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
        let expected = matches!(
            why,
            CloseReason::PeerClosed
                | CloseReason::Reset
                | CloseReason::Closed
                | CloseReason::Aborted
        );
        // A peer may be accepted only after it has cut its connection, as late as at the stop.
        let is_late = why == CloseReason::Shutdown && turn.connection.is_none();
        if !expected && !is_late {
            self.0
                .fault(format!("{:?} ended by {why:?}", turn.connection));
        }
    }
}

/// Starts a server on a free port of the loopback.
pub(crate) fn start(workers: usize) -> (Host, SocketAddr, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let mut host = Host::new();
    let framing = Framing::length(2).includes_prefix(true).build().unwrap();
    let server = host
        .server("echo", Echo(Arc::clone(&ledger)))
        .workers(workers);
    let net = server.framing(framing).listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let addr = net.local_addr().unwrap();
    (host, addr, ledger)
}
