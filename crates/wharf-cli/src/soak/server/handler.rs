//! What the server does with its sessions, innocent and hostile ones alike.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wharf::{
    Bytes, CloseReason, Error, Frame, Group, Handler, Network, Refuse, SendError, Session,
    WeakStrand,
};

use super::super::wire::{HEAD, Label, Op};
use super::accounts::{Account, Accounts, Member, count};
use super::zone::Zone;
use crate::pause::pause;

/// No handler is asked to take longer: hostile clients ask for any time.
const MS_MAX: u32 = 50;
/// Innocents count their sessions from 1.
const CONNS_MAX: u64 = 1 << 32;
/// Bytes of a large answer.
const MORE_BYTES: usize = 4000;
/// The most large answers to one frame.
const MORE_MAX: u32 = 8;

/// The handler of the networks that listen.
pub(super) struct Players {
    pub(super) network: &'static str,
    pub(super) accounts: Arc<Accounts>,
    /// Where sessions get numbered frames from; the annex has none.
    pub(super) zone: Option<Arc<OnceLock<WeakStrand<Zone>>>>,
    room: OnceLock<Group<Self>>,
    /// Held for writing by who comes in: a broadcast finds it in the room and among the accounts,
    /// or in neither.
    coming: RwLock<()>,
}

impl Players {
    pub(super) fn new(network: &'static str, accounts: &Arc<Accounts>) -> Self {
        Self {
            network,
            accounts: Arc::clone(accounts),
            zone: None,
            room: OnceLock::new(),
            coming: RwLock::default(),
        }
    }

    /// Once the network is declared: its room, which ends with it.
    pub(super) fn open_room(network: &Network<Self>) {
        // Declared once, so this is the first.
        let _ = network.handler().room.set(network.group());
    }

    fn hello(&self, s: &Session<Self>, state: &Arc<Account>, label: Label) -> wharf::Result<()> {
        state.conn.store(label.conn, Ordering::Relaxed);
        if s.lane() == "guests" {
            s.set_lane("players")?;
        }
        let member = Member {
            session: s.clone(),
            account: Arc::clone(state),
        };
        {
            let _coming = self.coming.write().unwrap_or_else(PoisonError::into_inner);
            self.accounts.enter(member.clone());
            if let Some(room) = self.room.get() {
                room.join(s);
            }
        }
        let zone = self.zone.as_ref().and_then(|zone| zone.get()?.upgrade());
        if let Some(zone) = zone {
            zone.post(move |zone| zone.enter(member))?;
        }
        Ok(())
    }

    /// To everybody: the odd ones one by one, so that each is in its receiver's account.
    fn broadcast(&self, frame: Frame<'_>, label: Label) {
        let wire = Bytes::copy_from_slice(frame.wire());
        let _nobody_comes = self.coming.read().unwrap_or_else(PoisonError::into_inner);
        if label.seq.is_multiple_of(2) {
            if let Some(room) = self.room.get() {
                room.send_wire(&wire, None);
            }
            return;
        }
        for member in self.accounts.members_of(self.network) {
            if member.session.send_wire(wire.clone()).is_ok() {
                count(&member.account.room);
            }
        }
    }
}

impl Handler for Players {
    type State = Arc<Account>;

    fn on_open(&self, _: &Session<Self>) -> Result<Self::State, Refuse> {
        Ok(Arc::default())
    }

    fn on_frame(
        &self,
        s: &Session<Self>,
        state: &mut Self::State,
        frame: Frame<'_>,
    ) -> wharf::Result<()> {
        let Some(label) = Label::of(frame.payload()) else {
            return Err(Error::handler("no frame of the soak"));
        };
        let time = Duration::from_millis(u64::from(label.seq.min(MS_MAX)));
        // Random bytes may be a frame; only who logged in as himself is let in among innocents.
        let logs_in = label.seq == 0 && label.conn < CONNS_MAX && frame.payload().len() == HEAD;
        let is_logged_in = state.number() == label.conn && label.conn != 0;
        match label.op {
            Op::Hello if !logs_in => return Err(Error::handler("no HELLO of an innocent")),
            Op::Room if !is_logged_in => return Err(Error::handler("not logged in")),
            Op::Hello => {
                self.hello(s, state, label)?;
                s.send(frame.payload())?;
            }
            Op::Echo => {
                s.send(frame.payload())?;
                count(&state.echo);
            }
            Op::Room => self.broadcast(frame, label),
            Op::Panic => panic_on_demand(),
            Op::Block => pause(time),
            Op::Spin => {
                let until = Instant::now() + time;
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            Op::Close => s.close(),
            Op::Abort => s.abort(),
            Op::Fail => return Err(Error::handler("as asked")),
            Op::More => {
                for _ in 0..label.seq.min(MORE_MAX) {
                    s.send_with(|out| {
                        label.payload(MORE_BYTES, out);
                        Ok::<(), SendError>(())
                    })?;
                }
            }
            // What the server sends, a client does not.
            Op::Zone | Op::Posted | Op::Job => return Err(Error::handler("not for you to send")),
        }
        Ok(())
    }

    fn on_close(&self, s: &Session<Self>, state: Self::State, reason: CloseReason) {
        self.accounts.leave(s.id(), &state, self.network, &reason);
    }
}

/// Without the message and the backtrace of a hook: thousands of these are asked for.
fn panic_on_demand() {
    std::panic::resume_unwind(Box::new("as asked"));
}
