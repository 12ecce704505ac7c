//! The backend of a pool: where its workers sleep. It has a wake and a timer, and no sockets.
//!
//! One sleeper, the *lead*, sleeps until the timer; the others sleep without limit, so that a
//! deadline wakes one thread. A wake takes one of the others first: while the lead sleeps on,
//! nobody has to take its place.

use std::io;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::contract::{Backend, Bits, Ready, Token, Wait};
use crate::time::Time;

/// The backend.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    state: Mutex<State>,
    lead: Condvar,
    others: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A wake that nobody has taken yet.
    woken: bool,
    timer: Option<Time>,
    has_lead: bool,
    /// Sleepers besides the lead.
    sleeping: usize,
}

impl Parking {
    /// Has somebody look at the state who sleeps.
    fn rouse(&self, state: &State) {
        if state.sleeping > 0 {
            self.others.notify_one();
        } else if state.has_lead {
            self.lead.notify_one();
        }
    }
}

impl Backend for Parking {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn now(&self) -> Time {
        super::clock::now()
    }

    fn wait(&self, out: &mut Vec<Ready>, _: usize, how: Wait) -> io::Result<()> {
        let report = |token| Ready {
            token,
            bits: Bits::default(),
        };
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.woken) {
                out.push(report(Token::WAKE));
            }
            let now = self.now();
            if state.timer.is_some_and(|at| at <= now) {
                state.timer = None;
                out.push(report(Token::TIMER));
            }
            if !out.is_empty() || how == Wait::Poll {
                return Ok(());
            }
            match state.timer {
                Some(at) if !state.has_lead => {
                    state.has_lead = true;
                    let until = Instant::now() + at.since(now);
                    self.lead.wait_until(&mut state, until);
                    state.has_lead = false;
                    // It goes to work now, or becomes the lead again: the timer may need another.
                    if state.woken && state.timer.is_some() && state.sleeping > 0 {
                        self.others.notify_one();
                    }
                }
                _ => {
                    state.sleeping += 1;
                    self.others.wait(&mut state);
                    state.sleeping -= 1;
                }
            }
        }
    }

    fn wake(&self) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.woken, true) {
            self.rouse(&state);
        }
    }

    fn set_timer(&self, at: Option<Time>) {
        let mut state = self.state.lock();
        state.timer = at;
        if state.has_lead {
            self.lead.notify_one();
        } else if at.is_some() && state.sleeping > 0 {
            self.others.notify_one();
        }
    }

    fn entropy(&self) -> u64 {
        fastrand::u64(..)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn waiting(parking: &Parking) -> Vec<Token> {
        let mut out = Vec::new();
        parking.wait(&mut out, 64, Wait::Block).unwrap();
        out.iter().map(|ready| ready.token).collect()
    }

    #[test]
    fn a_wake_before_the_sleep_is_not_lost_and_wakes_coalesce() {
        let parking = Parking::default();
        parking.wake();
        parking.wake();
        assert_eq!(waiting(&parking), [Token::WAKE]);
        let mut out = Vec::new();
        parking.wait(&mut out, 64, Wait::Poll).unwrap();
        assert!(out.is_empty(), "two wakes are one");
    }

    #[test]
    fn the_timer_comes_once_and_not_early() {
        let parking = Parking::default();
        let at = parking.now() + Duration::from_millis(5);
        parking.set_timer(Some(at));
        assert_eq!(waiting(&parking), [Token::TIMER]);
        assert!(parking.now() >= at);
        parking.set_timer(Some(parking.now() + Duration::from_secs(60)));
        parking.set_timer(None);
        parking.wake();
        assert_eq!(waiting(&parking), [Token::WAKE]);
    }

    /// Three threads sleep and wake without end; each timer and each wake reaches one of them.
    #[test]
    fn every_timer_and_every_wake_reaches_a_sleeper() {
        let parking = Arc::new(Parking::default());
        let timers = Arc::new(AtomicUsize::new(0));
        let wakes = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicUsize::new(0));
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let (parking, timers) = (Arc::clone(&parking), Arc::clone(&timers));
                let (wakes, over) = (Arc::clone(&wakes), Arc::clone(&over));
                let thread = std::thread::Builder::new().name("sleeper".into());
                let sleep = move || {
                    while over.load(Ordering::SeqCst) == 0 {
                        for token in waiting(&parking) {
                            let counter = if token == Token::TIMER {
                                &timers
                            } else {
                                &wakes
                            };
                            counter.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    parking.wake();
                };
                thread.spawn(sleep).unwrap()
            })
            .collect();
        let until = |counter: &AtomicUsize, count| {
            let limit = Instant::now() + Duration::from_secs(20);
            while counter.load(Ordering::SeqCst) < count {
                assert!(Instant::now() < limit, "nobody came");
                std::thread::yield_now();
            }
        };
        for round in 1..=200 {
            parking.set_timer(Some(parking.now() + Duration::from_millis(50)));
            let soon = Duration::from_micros(round as u64 % 7 * 40);
            parking.set_timer(Some(parking.now() + soon));
            parking.wake();
            until(&wakes, round);
            until(&timers, round);
        }
        over.store(1, Ordering::SeqCst);
        parking.wake();
        sleepers
            .into_iter()
            .for_each(|sleeper| sleeper.join().unwrap());
    }
}
