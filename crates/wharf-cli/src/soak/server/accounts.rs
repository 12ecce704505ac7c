//! What the server owes to each innocent session: a count of the frames whose `send` returned
//! `Ok`, by what they were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use wharf::{CloseReason, Session, SessionId};

use super::handler::Players;

/// A thread that has sent and not counted yet has so long before the account is told.
const SETTLING: Duration = Duration::from_secs(1);

/// The counts of one session, by whoever sends to it.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The number that its HELLO has told; 0 before.
    pub(super) conn: AtomicU64,
    pub(super) echo: AtomicU64,
    /// Room frames with odd numbers; the even ones go by a group, which counts them all together.
    pub(super) room: AtomicU64,
    pub(super) zone: AtomicU64,
    pub(super) posted: AtomicU64,
    pub(super) job: AtomicU64,
}

impl Account {
    pub(super) fn number(&self) -> u64 {
        self.conn.load(Ordering::Relaxed)
    }
}

/// One more was accepted.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is told of a session that is over.
#[derive(Debug, Serialize)]
pub(super) struct Closed {
    conn: u64,
    network: &'static str,
    reason: &'static str,
    echo: u64,
    room: u64,
    zone: u64,
    posted: u64,
    job: u64,
}

struct Over {
    at: Instant,
    account: Arc<Account>,
    network: &'static str,
    reason: &'static str,
}

/// An innocent that is logged in.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) session: Session<Players>,
    pub(super) account: Arc<Account>,
}

/// Who is logged in, and who was.
#[derive(Default)]
pub(super) struct Accounts {
    members: Mutex<BTreeMap<SessionId, Member>>,
    over: Mutex<VecDeque<Over>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Panics are part of the test; what is under these locks is never half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    pub(super) fn enter(&self, member: Member) {
        lock(&self.members).insert(member.session.id(), member);
    }

    /// Everybody of this network.
    pub(super) fn members_of(&self, network: &str) -> Vec<Member> {
        let members = lock(&self.members);
        let here = members
            .values()
            .filter(|m| m.session.network().name() == network);
        here.cloned().collect()
    }

    /// Everybody.
    pub(super) fn members(&self) -> Vec<Member> {
        lock(&self.members).values().cloned().collect()
    }

    /// The session is over. Those that never logged in are nobody's account.
    pub(super) fn leave(
        &self,
        id: SessionId,
        account: &Arc<Account>,
        network: &'static str,
        reason: &CloseReason,
    ) {
        lock(&self.members).remove(&id);
        if account.number() != 0 {
            lock(&self.over).push_back(Over {
                at: Instant::now(),
                account: Arc::clone(account),
                network,
                reason: reason.name(),
            });
        }
    }

    /// The accounts that nobody changes any more; all of them `at_end`.
    pub(super) fn settled(&self, at_end: bool) -> Vec<Closed> {
        let mut over = lock(&self.over);
        let mut closed = Vec::new();
        while let Some(first) = over
            .front()
            .filter(|o| at_end || o.at.elapsed() >= SETTLING)
        {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let account = &first.account;
            closed.push(Closed {
                conn: account.number(),
                network: first.network,
                reason: first.reason,
                echo: read(&account.echo),
                room: read(&account.room),
                zone: read(&account.zone),
                posted: read(&account.posted),
                job: read(&account.job),
            });
            over.pop_front();
        }
        closed
    }
}
