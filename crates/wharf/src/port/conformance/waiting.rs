//! Clauses 2, 7 and 8: who gets a report, wakes, and the timer.

use std::sync::mpsc;

use super::*;
use crate::time::Time;

/// One thing that happened is reported to one of two workers that wait.
pub(super) fn any_worker(rig: &Rig) {
    let pair = rig.pair();
    if !rig.world.sleeps() {
        rig.send_all(&pair.client, CLIENT, b"x");
        rig.pass_until_ready();
        let waits = [(); 2].map(|()| {
            let mut out = Vec::new();
            rig.port.wait(&mut out, 1, Wait::Block).unwrap();
            out
        });
        let reports = waits.iter().flatten().filter(|r| r.token == SERVER).count();
        assert!(reports == 1 || rig.world.is_faulty(), "{waits:?}");
        return;
    }
    let (told, reports) = mpsc::sync_channel(2);
    for name in ["waits-0", "waits-1"] {
        let (port, told) = (Arc::clone(&rig.port), told.clone());
        let wait = move || {
            let mut out = Vec::new();
            while out.is_empty() {
                port.wait(&mut out, 64, Wait::Block).unwrap();
            }
            told.send(out).unwrap();
        };
        let thread = std::thread::Builder::new().name(name.into());
        thread.spawn(wait).unwrap();
    }
    rig.world.pass(SILENCE);
    rig.send_all(&pair.client, CLIENT, b"x");
    let first = reports.recv_timeout(PATIENCE).unwrap();
    assert!(first.iter().any(|ready| ready.token == SERVER), "{first:?}");
    let second = reports.recv_timeout(SILENCE);
    assert!(second.is_err(), "one byte was reported to both: {second:?}");
    rig.port.wake();
    let second = reports.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second[0].token, Token::WAKE);
}

/// A harvest takes no more than it is told, and loses nothing of the rest.
pub(super) fn harvests_are_limited(rig: &Rig) {
    let Pair { client, server } = rig.unregistered();
    rig.port.register(CLIENT, &client).unwrap();
    rig.port.register(SERVER, &server).unwrap();
    rig.port.wake();
    rig.world.settle();
    let mut all = Vec::new();
    for _ in 0..200 {
        let before = all.len();
        rig.port.wait(&mut all, 1, Wait::Poll).unwrap();
        assert!(all.len() <= before + 1);
        rig.world.settle();
    }
    for token in [CLIENT, SERVER, Token::WAKE] {
        assert!(
            all.iter().any(|ready| ready.token == token),
            "{token:?} in {all:?}"
        );
    }
}

/// Wakes that nobody has harvested are one; each later one is seen again.
pub(super) fn wakes_coalesce(rig: &Rig) {
    for _ in 0..3 {
        (0..5).for_each(|_| rig.port.wake());
        rig.until_seen(Token::WAKE);
        assert!(!rig.is_reported(Token::WAKE), "five wakes are one");
    }
}

/// A wake ends the sleep of a worker.
pub(super) fn a_wake_ends_a_sleep(rig: &Rig) {
    if !rig.world.sleeps() {
        // A driver does the sleeping there; `wakes_coalesce` is all that is promised.
        rig.port.wake();
        return rig.until_seen(Token::WAKE);
    }
    let (told, woken) = mpsc::sync_channel(1);
    let port = Arc::clone(&rig.port);
    let wait = move || {
        let mut out = Vec::new();
        while out.is_empty() {
            port.wait(&mut out, 8, Wait::Block).unwrap();
        }
        told.send(out).unwrap();
    };
    let thread = std::thread::Builder::new().name("sleeps".into());
    thread.spawn(wait).unwrap();
    assert!(
        woken.recv_timeout(SILENCE).is_err(),
        "nothing ends its sleep yet"
    );
    rig.port.wake();
    let out = woken.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        out.iter().map(|ready| ready.token).collect::<Vec<_>>(),
        [Token::WAKE]
    );
}

const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_millis(60);

fn due(rig: &Rig, at: Time) {
    rig.until_seen(Token::TIMER);
    let now = rig.port.now();
    assert!(now >= at, "{:?} too early", at.since(now));
}

/// The timer is reported once its moment has come, not before, and once.
pub(super) fn timer_not_early(rig: &Rig) {
    for after in [SOON, Duration::from_micros(1), Duration::ZERO] {
        let at = rig.port.now() + after;
        rig.port.set_timer(Some(at));
        due(rig, at);
        assert!(!rig.is_reported(Token::TIMER), "it is set for one moment");
    }
    // A moment that has passed is due at once.
    rig.port.set_timer(Some(Time::from_nanos(1)));
    rig.until_seen(Token::TIMER);
}

/// Setting it again replaces it, by an earlier moment and by a later one.
pub(super) fn timer_replaced(rig: &Rig) {
    let now = rig.port.now();
    rig.port.set_timer(Some(now + Duration::from_secs(3600)));
    rig.port.set_timer(Some(now + SOON));
    due(rig, now + SOON);
    let now = rig.port.now();
    rig.port.set_timer(Some(now + SOON));
    rig.port.set_timer(Some(now + LATER));
    due(rig, now + LATER);
    assert!(!rig.is_reported(Token::TIMER));
}

/// `None` clears it.
pub(super) fn timer_cleared(rig: &Rig) {
    rig.port.set_timer(Some(rig.port.now() + SOON));
    rig.port.set_timer(None);
    assert!(!rig.is_reported(Token::TIMER));
    let at = rig.port.now() + SOON;
    rig.port.set_timer(Some(at));
    due(rig, at);
}

impl Rig {
    /// Until what was sent has surely arrived, without harvesting it.
    fn pass_until_ready(&self) {
        self.world.pass(SILENCE);
    }
}
