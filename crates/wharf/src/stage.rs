//! Stages: a live session changes its handler and its state in its own turn. Login, then game.
//!
//! [`Staged`] is a [`Handler`] like any other, whose state is the session's current [`Stage`]: the
//! core knows nothing of stages, and a network without them pays nothing. The session stays the
//! same session: its handles, groups, counters, send queue and unread bytes do not notice. Handing
//! the socket to a session of another network would lose all of those.

use std::any::Any;
use std::fmt;

use crate::error::{CloseReason, Refuse, Result};
use crate::frame::Frame;
use crate::handler::Handler;
use crate::session::Session;
use crate::session::queue::CloseHow;

/// What a session is to its handler for a while: a login, a lobby, a game. Its fields are the state
/// of the session for that time; callbacks come as a [`Handler`]'s, one at a time and in order, so
/// they take `&mut self`.
pub trait Stage: Any + Send {
    /// The session enters this stage: right after [`Staged`]'s closure made it, or after the
    /// callback that returned [`Next::Become`]. The stage before is dropped already.
    ///
    /// # Errors
    /// An error closes the session with [`CloseReason::HandlerError`]; of the first stage it
    /// refuses the session, as `on_open` does.
    fn on_enter(&mut self, session: &Session<Staged>) -> Result<()> {
        let _ = session;
        Ok(())
    }

    /// A frame came while the session is in this stage. With [`Next::Become`] the next frame goes
    /// to the next stage, in the same turn too.
    ///
    /// # Errors
    /// An error closes the session, after what was sent, with [`CloseReason::HandlerError`].
    fn on_frame(&mut self, session: &Session<Staged>, frame: Frame<'_>) -> Result<Next>;

    /// The session is over while in this stage: the last callback. Stages it has left are not told.
    fn on_close(self: Box<Self>, session: &Session<Staged>, reason: CloseReason) {
        let _ = (session, reason);
    }
}

/// What becomes of a session after a frame.
#[derive(Default)]
#[must_use = "the session stays in its stage unless this is returned"]
pub enum Next {
    /// It stays in its stage.
    #[default]
    Stay,
    /// It leaves its stage, which is dropped, and enters this one.
    Become(Box<dyn Stage>),
}

impl Next {
    /// [`Next::Become`], boxed.
    pub fn become_stage(stage: impl Stage) -> Self {
        Self::Become(Box::new(stage))
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stay => "Stay",
            Self::Become(_) => "Become(..)",
        })
    }
}

type First = dyn Fn(&Session<Staged>) -> Result<Box<dyn Stage>, Refuse> + Send + Sync;

/// A [`Handler`] whose sessions go through stages.
///
/// A login that has to ask somebody else pauses its reading, asks ([`Requests`](crate::Requests)),
/// and changes its stage in the job that brings the answer ([`CurrentStage::become_stage`]): the
/// example `login` does it.
///
/// ```
/// use std::sync::Arc;
/// use wharf::{Error, Frame, Host, Next, Session, Stage, Staged};
///
/// struct World; // what all sessions share
///
/// struct Login {
///     world: Arc<World>,
///     attempts: u32,
/// }
///
/// struct Game {
///     world: Arc<World>,
///     name: String,
/// }
///
/// impl Stage for Login {
///     fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
///         self.attempts += 1;
///         if let Some(name) = frame.payload().strip_prefix(b"login ") {
///             s.send(b"welcome")?;
///             let name = String::from_utf8_lossy(name).into_owned();
///             let world = Arc::clone(&self.world);
///             return Ok(Next::become_stage(Game { world, name }));
///         }
///         if self.attempts == 3 {
///             return Err(Error::handler("three frames and no login"));
///         }
///         Ok(Next::Stay)
///     }
/// }
///
/// impl Stage for Game {
///     fn on_enter(&mut self, s: &Session<Staged>) -> wharf::Result<()> {
///         s.set_lane("players") // served before those who only log in
///     }
///
///     fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
///         s.send(frame.payload())?;
///         Ok(Next::Stay)
///     }
/// }
///
/// # fn main() -> wharf::Result<()> {
/// let world = Arc::new(World);
/// let login = move |_: &Session<Staged>| {
///     Ok(Login { world: Arc::clone(&world), attempts: 0 })
/// };
/// let mut host = Host::new();
/// let port = host.port("front").workers(2);
/// let port = port.lane(wharf::Lane::new("players")).lane(wharf::Lane::new("logins")).build()?;
/// let game = host.server("game", Staged::new(login));
/// let game = game.port(&port).lane("logins").listen("127.0.0.1:0")?;
/// host.start()?;
/// # use std::io::{Read, Write};
/// # let mut peer = std::net::TcpStream::connect(game.local_addr().unwrap())?;
/// # peer.write_all(b"\x0b\x00login Ann\x06\x00move")?;
/// # let mut back = [0; 15];
/// # peer.read_exact(&mut back)?;
/// # assert_eq!(&back, b"\x09\x00welcome\x06\x00move");
/// # assert_eq!(game.sessions().first().unwrap().lane(), "players");
/// host.stop()
/// # }
/// ```
pub struct Staged {
    first: Box<First>,
}

impl Staged {
    /// A handler whose sessions begin in the stage that `first` makes; what it sends goes out.
    /// `first` is the session's `on_open`, and may refuse it.
    pub fn new<S: Stage>(
        first: impl Fn(&Session<Self>) -> Result<S, Refuse> + Send + Sync + 'static,
    ) -> Self {
        let boxed = move |session: &Session<Self>| -> Result<Box<dyn Stage>, Refuse> {
            Ok(Box::new(first(session)?))
        };
        Self {
            first: Box::new(boxed),
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Staged(..)")
    }
}

/// The stage that a session is in: the state of [`Staged`], as jobs posted to the session get it.
pub struct CurrentStage(Box<dyn Stage>);

impl CurrentStage {
    /// The stage, if it is an `S`. A job that was posted in one stage may run in the next: it has
    /// to look.
    #[must_use]
    pub fn get<S: Stage>(&self) -> Option<&S> {
        (&*self.0 as &dyn Any).downcast_ref()
    }

    /// The same, to change it.
    #[must_use]
    pub fn get_mut<S: Stage>(&mut self) -> Option<&mut S> {
        (&mut *self.0 as &mut dyn Any).downcast_mut()
    }

    /// What a job does in place of returning [`Next::Become`]: the session leaves its stage, which
    /// is dropped, and enters this one. If that one's `on_enter` fails, the session is closed with
    /// [`CloseReason::HandlerError`].
    pub fn become_stage(&mut self, session: &Session<Staged>, stage: impl Stage) {
        if let Err(error) = self.enter(session, Box::new(stage)) {
            let reason = CloseReason::HandlerError(error.to_string());
            session.0.close(CloseHow::Graceful, reason);
        }
    }

    fn enter(&mut self, session: &Session<Staged>, stage: Box<dyn Stage>) -> Result<()> {
        // In its place before anything else of the user's runs: should that panic, `on_close` finds
        // the new stage.
        drop(std::mem::replace(&mut self.0, stage));
        self.0.on_enter(session)
    }
}

impl fmt::Debug for CurrentStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentStage(..)")
    }
}

impl Handler for Staged {
    type State = CurrentStage;

    fn on_open(&self, session: &Session<Self>) -> Result<CurrentStage, Refuse> {
        let mut stage = (self.first)(session)?;
        let entered = stage.on_enter(session);
        entered.map_err(|error| Refuse::new(error.to_string()))?;
        Ok(CurrentStage(stage))
    }

    fn on_frame(
        &self,
        session: &Session<Self>,
        stage: &mut CurrentStage,
        frame: Frame<'_>,
    ) -> Result<()> {
        match stage.0.on_frame(session, frame)? {
            Next::Stay => Ok(()),
            Next::Become(next) => stage.enter(session, next),
        }
    }

    fn on_close(&self, session: &Session<Self>, stage: CurrentStage, reason: CloseReason) {
        stage.0.on_close(session, reason);
    }
}
