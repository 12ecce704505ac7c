//! The links: numbered requests to a peer that echoes them, while it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use wharf::{CloseReason, Frame, Handler, Network, Refuse, SendError, Session};

use super::super::wire::{Label, Op};

/// Requests without an answer, beyond which none is sent.
const OPEN_MAX: u32 = 16;
const BODY: usize = 40;

/// What the links have come to.
#[derive(Debug, Default)]
pub(super) struct LinkCounts {
    sent: AtomicU64,
    answered: AtomicU64,
    cut: AtomicU64,
    wrong: AtomicU64,
    opened: AtomicU64,
}

/// The same, told.
#[derive(Debug, Serialize)]
pub(super) struct LinkTold {
    /// Requests whose `send` returned `Ok`.
    sent: u64,
    /// Answers that were the next in order.
    answered: u64,
    /// Requests without an answer when the link ended.
    cut: u64,
    /// Answers that were not the next in order.
    wrong: u64,
    /// Links that opened.
    opened: u64,
}

impl LinkCounts {
    pub(super) fn told(&self) -> LinkTold {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkTold {
            sent: read(&self.sent),
            answered: read(&self.answered),
            cut: read(&self.cut),
            wrong: read(&self.wrong),
            opened: read(&self.opened),
        }
    }
}

/// The handler of the networks that connect.
pub(super) struct Links {
    pub(super) counts: Arc<LinkCounts>,
}

/// Requests of one link.
#[derive(Debug, Default)]
pub(super) struct Requests {
    sent: u32,
    answered: u32,
}

impl Links {
    /// One more request on each link.
    pub(super) fn ask(network: &Network<Self>) {
        network.sessions().for_each(|session| {
            // A link that ends meanwhile, or has a full mailbox, is asked the next time.
            let _ = session.post(|session, requests| {
                if requests.sent - requests.answered >= OPEN_MAX {
                    return;
                }
                let label = Label {
                    op: Op::Echo,
                    conn: session.id().get(),
                    seq: requests.sent,
                };
                let sent = session.send_with(|out| {
                    label.payload(BODY, out);
                    Ok::<(), SendError>(())
                });
                if sent.is_ok() {
                    requests.sent += 1;
                    let counts = &session.network();
                    counts.handler().counts.sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
    }
}

impl Handler for Links {
    type State = Requests;

    fn on_open(&self, _: &Session<Self>) -> Result<Requests, Refuse> {
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Requests::default())
    }

    fn on_frame(
        &self,
        s: &Session<Self>,
        requests: &mut Requests,
        frame: Frame<'_>,
    ) -> wharf::Result<()> {
        let expected = Label {
            op: Op::Echo,
            conn: s.id().get(),
            seq: requests.answered,
        };
        let right = Label::of(frame.payload()) == Some(expected)
            && expected.is_intact(frame.payload())
            && requests.answered < requests.sent;
        let counter = if right {
            &self.counts.answered
        } else {
            &self.counts.wrong
        };
        counter.fetch_add(1, Ordering::Relaxed);
        requests.answered += 1;
        Ok(())
    }

    fn on_close(&self, _: &Session<Self>, requests: Requests, _: CloseReason) {
        let cut = requests.sent.saturating_sub(requests.answered);
        self.counts.cut.fetch_add(u64::from(cut), Ordering::Relaxed);
    }
}
