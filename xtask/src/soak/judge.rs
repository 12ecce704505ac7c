//! Compares what innocents have got with what the server says it has sent, session by session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an innocent session says at its end.
#[derive(Clone, Debug, Deserialize)]
#[expect(
    dead_code,
    reason = "network and fault are read by Debug, in the words of a fault"
)]
pub(super) struct Ended {
    conn: u64,
    network: String,
    how: How,
    greeted: bool,
    sent: u64,
    answered: u64,
    missing: u64,
    doubled: u64,
    reordered: u64,
    corrupt: u64,
    echo: u64,
    room: u64,
    zone: u64,
    posted: u64,
    job: u64,
    fault: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Finished,
    Ended,
    Reset,
}

/// What the server says of a session at its end: frames whose `send` returned `Ok`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Closed {
    conn: u64,
    reason: String,
    echo: u64,
    room: u64,
    zone: u64,
    posted: u64,
    job: u64,
}

/// Reasons of the session's own policy. Innocents give no cause for them.
const POLICY: [&str; 6] = [
    "send_queue_full",
    "rate_exceeded",
    "memory_ceiling",
    "write_stalled",
    "idle_timeout",
    "handshake_timeout",
];
/// The reason when an operator stops a network.
const OPERATOR: &str = "shutdown";
/// Faults that are told in words; all are counted.
const WORDS_MAX: usize = 20;

/// The account of all innocent frames.
#[derive(Debug, Default, Serialize)]
pub(super) struct Account {
    pub(super) sessions: u64,
    /// Frames of innocents that ask for an answer, and the answers.
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Frames whose `send` returned `Ok` in the server, and what came of them.
    pub(super) server_sent: u64,
    pub(super) server_came: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    pub(super) corrupt: u64,
    /// Sessions that ended against all rules.
    pub(super) cut: u64,
    /// Sessions that ended otherwise than by the innocents' wish: refused before they were greeted,
    /// by their own policy, by an operator; and frames without an answer in the latter two.
    pub(super) refused: u64,
    pub(super) by_policy: u64,
    pub(super) by_operator: u64,
    pub(super) unanswered_then: u64,
    /// The first faults in words.
    pub(super) words: Vec<String>,
    #[serde(skip)]
    ended: BTreeMap<u64, Ended>,
    #[serde(skip)]
    closed: BTreeMap<u64, Closed>,
}

impl Account {
    /// # Errors
    /// A line that is none.
    pub(super) fn ended(&mut self, line: Value) -> Result<(), String> {
        let ended: Ended = serde_json::from_value(line).map_err(|e| format!("ended: {e}"))?;
        self.ended.insert(ended.conn, ended);
        self.settle(false);
        Ok(())
    }

    /// # Errors
    /// A line that is none.
    pub(super) fn closed(&mut self, line: Value) -> Result<(), String> {
        let closed: Closed = serde_json::from_value(line).map_err(|e| format!("closed: {e}"))?;
        self.closed.insert(closed.conn, closed);
        self.settle(false);
        Ok(())
    }

    /// Compares the sessions that both have spoken of; at the end those of one side too.
    pub(super) fn settle(&mut self, at_end: bool) {
        let both: Vec<u64> = self
            .ended
            .keys()
            .filter(|conn| at_end || self.closed.contains_key(conn))
            .copied()
            .collect();
        for conn in both {
            if let Some(ended) = self.ended.remove(&conn) {
                let closed = self.closed.remove(&conn);
                self.judge(&ended, closed.as_ref());
            }
        }
        if at_end {
            for conn in std::mem::take(&mut self.closed).into_keys() {
                self.cut += 1;
                self.word(format!("session {conn}: no innocent knows of its end"));
            }
        }
    }

    fn judge(&mut self, ended: &Ended, closed: Option<&Closed>) {
        self.sessions += 1;
        self.sent += ended.sent;
        self.answered += ended.answered;
        self.doubled += ended.doubled;
        self.reordered += ended.reordered;
        self.corrupt += ended.corrupt;
        self.lost += ended.missing;
        if ended.missing + ended.doubled + ended.reordered + ended.corrupt > 0 {
            self.word(format!("{ended:?}"));
        }
        let unanswered = ended.sent.saturating_sub(ended.answered);
        let reason = closed.map(|closed| closed.reason.as_str());
        let by_policy = reason.is_some_and(|reason| POLICY.contains(&reason));
        let by_operator = reason == Some(OPERATOR);
        if by_policy || by_operator {
            let count = if by_policy {
                &mut self.by_policy
            } else {
                &mut self.by_operator
            };
            *count += 1;
            self.unanswered_then += unanswered;
        } else if closed.is_none() && !ended.greeted {
            // Nothing was promised yet.
            self.refused += 1;
        } else if ended.how != How::Finished || closed.is_none() {
            self.cut += 1;
            self.lost += unanswered;
            self.word(format!("cut: {ended:?}, {closed:?}"));
        } else if unanswered > 0 {
            self.lost += unanswered;
            self.word(format!("unanswered: {ended:?}, {closed:?}"));
        }
        let Some(closed) = closed else { return };
        // A goodbye in good order brings all that was accepted; a policy may throw it away, and a
        // reset destroys what was on its way.
        if ended.how != How::Reset && !by_policy {
            let pairs = [
                (closed.echo, ended.echo),
                (closed.room, ended.room),
                (closed.zone, ended.zone),
                (closed.posted, ended.posted),
                (closed.job, ended.job),
            ];
            let lost: u64 = pairs
                .iter()
                .map(|(sent, came)| sent.saturating_sub(*came))
                .sum();
            self.server_sent += pairs.iter().map(|pair| pair.0).sum::<u64>();
            self.server_came += pairs.iter().map(|pair| pair.1).sum::<u64>();
            if lost > 0 {
                self.lost += lost;
                self.word(format!(
                    "accepted and not come: {lost}: {ended:?}, {closed:?}"
                ));
            }
        }
    }

    fn word(&mut self, word: String) {
        if self.words.len() < WORDS_MAX {
            self.words.push(word);
        }
    }

    /// What breaks the promise, by name.
    pub(super) fn faults(&self) -> Vec<String> {
        [
            ("frames lost", self.lost),
            ("frames doubled", self.doubled),
            ("frames reordered", self.reordered),
            ("frames corrupt", self.corrupt),
            ("sessions cut", self.cut),
        ]
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(ended: &[(&str, Value)], closed: &[(&str, Value)], both: bool) -> Account {
        let mut one = json!({"conn": 7, "network": "game", "how": "finished", "greeted": true,
            "sent": 10, "answered": 10, "missing": 0, "doubled": 0, "reordered": 0, "corrupt": 0,
            "echo": 9, "room": 1, "zone": 3, "posted": 2, "job": 1, "fault": null});
        let mut other = json!({"conn": 7, "network": "game", "reason": "peer_closed",
            "echo": 9, "room": 1, "zone": 3, "posted": 2, "job": 1});
        ended
            .iter()
            .for_each(|(key, value)| one[key] = value.clone());
        closed
            .iter()
            .for_each(|(key, value)| other[key] = value.clone());
        let mut account = Account::default();
        account.ended(one).expect("a line");
        if both {
            account.closed(other).expect("a line");
        }
        account.settle(true);
        account
    }

    #[test]
    fn a_session_in_good_order_is_no_fault() {
        let account = of(&[], &[], true);
        assert_eq!(account.faults(), Vec::<String>::new());
        assert_eq!((account.sessions, account.server_sent), (1, 16));
    }

    #[test]
    fn each_fault_is_seen() {
        let seen =
            |ended: &[(&str, Value)], closed: &[(&str, Value)]| of(ended, closed, true).faults();
        assert_eq!(seen(&[("answered", json!(9))], &[]), ["1 frames lost"]);
        assert_eq!(seen(&[("missing", json!(2))], &[]), ["2 frames lost"]);
        assert_eq!(seen(&[("doubled", json!(1))], &[]), ["1 frames doubled"]);
        assert_eq!(
            seen(&[("reordered", json!(1))], &[]),
            ["1 frames reordered"]
        );
        assert_eq!(seen(&[("corrupt", json!(1))], &[]), ["1 frames corrupt"]);
        assert_eq!(
            seen(&[], &[("zone", json!(4))]),
            ["1 frames lost"],
            "accepted, not come"
        );
        assert_eq!(seen(&[("how", json!("reset"))], &[]), ["1 sessions cut"]);
        assert_eq!(
            of(&[], &[], false).faults(),
            ["1 sessions cut"],
            "no on_close"
        );
    }

    #[test]
    fn ends_by_policy_and_operator_excuse_answers_and_not_what_was_accepted() {
        let shut = [("reason", json!("shutdown"))];
        let early = [("how", json!("ended")), ("answered", json!(4))];
        let account = of(&early, &shut, true);
        assert_eq!(account.faults(), Vec::<String>::new());
        assert_eq!((account.by_operator, account.unanswered_then), (1, 6));
        let owed = [("reason", json!("shutdown")), ("job", json!(2))];
        assert_eq!(of(&early, &owed, true).faults(), ["1 frames lost"]);
        let full = [("reason", json!("send_queue_full")), ("job", json!(2))];
        assert_eq!(of(&early, &full, true).by_policy, 1);
        let refused = [
            ("greeted", json!(false)),
            ("how", json!("reset")),
            ("sent", json!(0)),
        ];
        assert_eq!(of(&refused, &[], false).refused, 1);
    }
}
