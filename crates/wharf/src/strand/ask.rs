//! Ask: a question to a strand, whose answer comes back as a job to whoever asked.

use super::Strand;
use crate::error::SendError;
use crate::handler::Handler;
use crate::session::Session;

impl<T: Send + 'static> Strand<T> {
    /// Runs `question` on this strand and `answer`, with what it returned, on `session`, serially
    /// with its callbacks. An answer that finds the session closed or its mailbox full is dropped
    /// and counted ([`super::StrandStats::answers_lost`]); if `question` panics there is none.
    ///
    /// ```
    /// # use wharf::{Frame, Handler, Refuse, Session, Strand};
    /// struct Game { scores: Strand<Vec<u32>> }
    ///
    /// impl Handler for Game {
    ///     type State = u32;
    ///
    ///     fn on_open(&self, _: &Session<Self>) -> Result<u32, Refuse> {
    ///         Ok(0)
    ///     }
    ///
    ///     fn on_frame(&self, s: &Session<Self>, _: &mut u32, _: Frame<'_>) -> wharf::Result<()> {
    ///         self.scores.ask(
    ///             s,
    ///             |scores| scores.iter().max().copied(),
    ///             |s, best, answer| {
    ///                 *best = answer.unwrap_or(0);
    ///                 let _ = s.send(&best.to_le_bytes());
    ///             },
    ///         )?;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Strand::post`]: the question was not taken.
    pub fn ask<H: Handler, R: Send + 'static>(
        &self,
        session: &Session<H>,
        question: impl FnOnce(&mut T) -> R + Send + 'static,
        answer: impl FnOnce(&Session<H>, &mut H::State, R) + Send + 'static,
    ) -> Result<(), SendError> {
        let (session, counts) = (session.clone(), self.counts());
        self.post(move |value| {
            let reply = question(value);
            let answered = session.post(move |session, state| answer(session, state, reply));
            if answered.is_err() {
                counts.answers_lost.add(1);
            }
        })
    }

    /// Runs `question` on this strand and `answer`, with what it returned, on `other`. The question
    /// keeps `other` until it is answered. Lost answers are counted here, as in [`Self::ask`].
    ///
    /// # Errors
    /// As [`Strand::post`]: the question was not taken.
    pub fn ask_strand<U: Send + 'static, R: Send + 'static>(
        &self,
        other: &Strand<U>,
        question: impl FnOnce(&mut T) -> R + Send + 'static,
        answer: impl FnOnce(&mut U, R) + Send + 'static,
    ) -> Result<(), SendError> {
        let (other, counts) = (other.clone(), self.counts());
        self.post(move |value| {
            let reply = question(value);
            if other.post(move |asker| answer(asker, reply)).is_err() {
                counts.answers_lost.add(1);
            }
        })
    }
}
