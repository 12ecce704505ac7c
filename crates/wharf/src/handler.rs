//! The user's code, as the core calls it.

use crate::error::{CloseReason, Refuse, Result};
use crate::frame::Frame;
use crate::session::Session;

/// What a network does with its sessions. One value serves all sessions of the network, from any
/// worker of its port, so it is `Sync`; what belongs to one session is its [`Self::State`].
///
/// Callbacks of one session never overlap and come in arrival order (G1): no lock is needed around
/// its state. Callbacks of different sessions run at the same time if the port has several workers.
/// A panic in a callback closes that session and nothing else (G9).
///
/// ```
/// use wharf::{Frame, Handler, Refuse, Session};
///
/// struct Counting;
///
/// impl Handler for Counting {
///     type State = u64;
///
///     fn on_open(&self, _: &Session<Self>) -> Result<u64, Refuse> {
///         Ok(0)
///     }
///
///     fn on_frame(&self, s: &Session<Self>, seen: &mut u64, _: Frame<'_>) -> wharf::Result<()> {
///         *seen += 1;
///         s.send(&seen.to_le_bytes())?;
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + Sized + 'static {
    /// What a session keeps between callbacks.
    type State: Send + 'static;

    /// The session is connected: the first callback, before any frame. Frames sent here go out.
    ///
    /// # Errors
    /// [`Refuse`] closes the connection after what was sent; no other callback follows.
    fn on_open(&self, session: &Session<Self>) -> Result<Self::State, Refuse>;

    /// A frame came. It lies in the worker's buffer: copy what must outlive the call.
    ///
    /// # Errors
    /// An error closes the session, after what was sent, with
    /// [`CloseReason::HandlerError`](crate::CloseReason::HandlerError).
    fn on_frame(
        &self,
        session: &Session<Self>,
        state: &mut Self::State,
        frame: Frame<'_>,
    ) -> Result<()>;

    /// The session is over: the last callback, once for each `on_open` that returned a state.
    fn on_close(&self, session: &Session<Self>, state: Self::State, reason: CloseReason) {
        let _ = (session, state, reason);
    }
}

/// For tests that need a handler and no callback.
#[cfg(test)]
pub(crate) struct Nothing;

#[cfg(test)]
impl Handler for Nothing {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> Result<()> {
        Ok(())
    }
}
