//! The bounded log of what happened, for a failing seed.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::net::Id;
use crate::port::contract::{Ready, Token};
use crate::port::drive::Step;
use crate::time::Time;

/// How many events are kept unless a test says otherwise.
pub(super) const KEPT_DEFAULT: usize = 4096;

/// How a call ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    Bytes(usize),
    Id(Id),
    Failed(io::ErrorKind),
}

/// One event. Kept as data: most are never read.
#[derive(Clone, Debug)]
pub(super) enum What {
    Adopted(Arc<str>, usize),
    Stepped(Arc<str>, Step),
    Held(Arc<str>, Duration, usize),
    Preempted(Arc<str>, Duration),
    Harvested(Arc<str>),
    Napped(Arc<str>),
    Left(Arc<str>),
    Jumped,
    Supervised(Time),
    Reported(usize, Ready),
    Called(&'static str, Id, Outcome),
    Fault(&'static str, Id),
    Failed(&'static str, Option<Id>, io::ErrorKind),
    Arrived(Id, usize),
    Ended(Id),
    Reset(Id),
    Connected(Id, Id),
    Refused(Id),
}

/// The last events, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<(Time, What)>,
    kept: usize,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            events: VecDeque::new(),
            kept: KEPT_DEFAULT,
        }
    }

    pub(super) fn keep(&mut self, kept: usize) {
        self.kept = kept;
        let excess = self.events.len().saturating_sub(kept);
        self.events.drain(..excess);
    }

    pub(super) fn push(&mut self, now: Time, what: What) {
        if self.kept == 0 {
            return;
        }
        if self.events.len() >= self.kept {
            self.events.pop_front();
        }
        self.events.push_back((now, what));
    }

    pub(super) fn tail(&self, count: usize) -> Vec<String> {
        let skip = self.events.len().saturating_sub(count);
        self.events
            .iter()
            .skip(skip)
            .map(|(at, what)| format!("{} {what}", seconds(*at)))
            .collect()
    }
}

/// A moment in seconds, to the nanosecond.
pub(super) fn seconds(at: Time) -> String {
    let nanos = at.as_nanos();
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted(worker, port) => write!(f, "{worker}: adopted on port {port}"),
            Self::Stepped(worker, Step::Ran) => write!(f, "{worker}: step"),
            Self::Stepped(worker, step) => write!(f, "{worker}: step -> {step:?}"),
            Self::Held(worker, time, gates) => {
                write!(f, "{worker}: held for {time:?} and {gates} gates")
            }
            Self::Preempted(worker, time) => write!(f, "{worker}: preempted for {time:?}"),
            Self::Napped(worker) => write!(f, "{worker}: napped"),
            Self::Harvested(worker) => write!(f, "{worker}: harvested"),
            Self::Left(worker) => write!(f, "{worker}: left"),
            Self::Jumped => write!(f, "time passed"),
            Self::Supervised(next) if *next == Time::NEVER => write!(f, "supervisor: ended"),
            Self::Supervised(next) => write!(f, "supervisor: again at {}", seconds(*next)),
            Self::Reported(port, ready) => report(f, *port, *ready),
            Self::Called(call, id, outcome) => match outcome {
                Outcome::Done => write!(f, "s{id}: {call}"),
                Outcome::Bytes(bytes) => write!(f, "s{id}: {call} -> {bytes} bytes"),
                Outcome::Id(other) => write!(f, "s{id}: {call} -> s{other}"),
                Outcome::Failed(kind) => write!(f, "s{id}: {call} -> {kind:?}"),
            },
            Self::Fault(fault, id) => write!(f, "s{id}: fault: {fault}"),
            Self::Failed(call, Some(id), kind) => write!(f, "s{id}: {call} is to fail: {kind:?}"),
            Self::Failed(call, None, kind) => write!(f, "a {call} is to fail: {kind:?}"),
            Self::Arrived(id, bytes) => write!(f, "s{id}: {bytes} bytes arrived"),
            Self::Ended(id) => write!(f, "s{id}: end of stream arrived"),
            Self::Reset(id) => write!(f, "s{id}: reset arrived"),
            Self::Connected(client, server) => write!(f, "s{client}: connected to s{server}"),
            Self::Refused(id) => write!(f, "s{id}: connect refused"),
        }
    }
}

fn report(f: &mut fmt::Formatter<'_>, port: usize, ready: Ready) -> fmt::Result {
    match ready.token {
        Token::WAKE => write!(f, "port {port}: wake"),
        Token::TIMER => write!(f, "port {port}: timer"),
        token => {
            let (slot, generation, bits) = (token.slot(), token.generation(), ready.bits.0);
            write!(f, "port {port}: report {slot}/{generation} bits {bits:05b}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_last_events() {
        let mut log = Log::new();
        log.keep(2);
        for id in 1..=3 {
            log.push(Time::from_nanos(1_000_000_000 + id), What::Ended(id));
        }
        let lines = [
            "1.000000002 s2: end of stream arrived",
            "1.000000003 s3: end of stream arrived",
        ];
        assert_eq!(log.tail(9), lines);
        assert_eq!(log.tail(1), lines[1..]);
        log.keep(0);
        log.push(Time::ZERO, What::Jumped);
        assert!(log.tail(9).is_empty());
    }
}
