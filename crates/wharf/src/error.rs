//! What can go wrong, told so that a person can mend it.

use std::fmt;
use std::io;

use crate::frame::{FrameError, FramingError};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is: what callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A declaration is wrong: a name, a number, two things that exclude each other.
    Config,
    /// An address could not be understood or resolved.
    Address,
    /// A listener could not be bound.
    Listen,
    /// The backend asked for does not work here.
    Backend,
    /// The operating system refused something else.
    System,
    /// The host is in the wrong state for this (not started yet, stopping).
    State,
    /// A handler never returned before the shutdown's deadline.
    Stuck,
    /// The user's own code returned it from a callback.
    Handler,
    /// A frame could not be encoded or queued.
    Send,
}

/// Something that did not work: what, where, and how to mend it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind; the message says what, where, and how to mend it.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    /// What a handler returns when its own code failed: closes the session with this reason.
    #[must_use]
    pub fn handler(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Handler, message)
    }

    /// The same error with the one that caused it.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// The kind, then the text of [`Display`](fmt::Display): it is what a `main` that returns an error
/// prints, and a person reads it there.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::new(ErrorKind::Send, error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(ErrorKind::System, "an I/O call failed").caused_by(error)
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::new(ErrorKind::Send, error.to_string())
    }
}

impl From<FramingError> for Error {
    fn from(error: FramingError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

/// Why a frame or a job was not queued. Small and `Copy`: it sits on the hot path of every sender.
#[must_use = "a frame or job that was not queued is lost unless you act on it"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendError {
    /// The session or strand is closing or closed; or the port has stopped.
    Closed,
    /// The send queue is full and its policy is `error`; or `close`, which this send triggered. Of
    /// a job: as many wait as may (`mailbox_max`, `jobs_max`).
    Full,
    /// The send queue is full and its policy is `drop_new`: this frame was dropped and counted.
    Dropped,
    /// The framing can't carry this payload: too long, or it contains the delimiter.
    Framing,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "not taken: the session, strand or port is closed",
            Self::Full => {
                "not taken: a frame met a full send queue (raise send_queue bytes_max or \
                 frames_max, or send less to a peer that reads slowly), or a job a full mailbox \
                 (raise mailbox_max or jobs_max, or post less)"
            }
            Self::Dropped => "not sent: the session's send queue is full and drops new frames",
            Self::Framing => "not sent: the payload does not fit the network's framing",
        })
    }
}

impl std::error::Error for SendError {}

/// Why a session ended, as `on_close` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its stream (FIN).
    PeerClosed,
    /// The connection was reset (RST): the peer crashed, was cut off, or aborted.
    Reset,
    /// `close` was called on our side.
    Closed,
    /// `abort` was called on our side.
    Aborted,
    /// The host or the network is stopping.
    Shutdown,
    /// No first frame within the handshake timeout.
    HandshakeTimeout,
    /// No bytes within the idle timeout.
    IdleTimeout,
    /// The peer took nothing for the write-stall timeout.
    WriteStalled,
    /// The send queue was full and its policy is `close`.
    SendQueueFull,
    /// The peer's bytes are no frame of this network's framing.
    BadFrame(FrameError),
    /// The bytes before the first frame are no PROXY protocol v2 header.
    BadProxyHeader(String),
    /// A callback returned an error.
    HandlerError(String),
    /// A callback panicked.
    HandlerPanicked,
    /// The system failed the connection in another way.
    Io(io::ErrorKind),
    /// The peer sent more than its [`InputRate`](crate::InputRate) allows, and its policy is
    /// `close`.
    RateExceeded,
    /// The sessions of the network or host hold as much as its [`MemoryLimit`](crate::MemoryLimit)
    /// allows, and this one held most, or needed more.
    MemoryCeiling,
}

impl CloseReason {
    /// Its name in counters and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Every name, in the order of [`crate::stats::NetworkSnapshot::closes`].
    pub const NAMES: [&'static str; 16] = [
        "peer_closed",
        "reset",
        "closed",
        "aborted",
        "shutdown",
        "handshake_timeout",
        "idle_timeout",
        "write_stalled",
        "send_queue_full",
        "bad_frame",
        "bad_proxy_header",
        "handler_error",
        "handler_panicked",
        "io",
        "rate_exceeded",
        "memory_ceiling",
    ];

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::PeerClosed => 0,
            Self::Reset => 1,
            Self::Closed => 2,
            Self::Aborted => 3,
            Self::Shutdown => 4,
            Self::HandshakeTimeout => 5,
            Self::IdleTimeout => 6,
            Self::WriteStalled => 7,
            Self::SendQueueFull => 8,
            Self::BadFrame(_) => 9,
            Self::BadProxyHeader(_) => 10,
            Self::HandlerError(_) => 11,
            Self::HandlerPanicked => 12,
            Self::Io(_) => 13,
            Self::RateExceeded => 14,
            Self::MemoryCeiling => 15,
        }
    }

    /// How an I/O error of a stream ends its session: a reset is never an end of stream.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Io(kind),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("the peer closed the connection"),
            Self::Reset => f.write_str("the connection was reset"),
            Self::Closed => f.write_str("closed on our side"),
            Self::Aborted => f.write_str("aborted on our side"),
            Self::Shutdown => f.write_str("the host is stopping"),
            Self::HandshakeTimeout => f.write_str("no first frame within the handshake timeout"),
            Self::IdleTimeout => f.write_str("no bytes within the idle timeout"),
            Self::WriteStalled => f.write_str("the peer took no bytes within the write timeout"),
            Self::SendQueueFull => f.write_str("the send queue was full"),
            Self::BadFrame(error) => write!(f, "bad frame: {error}"),
            Self::BadProxyHeader(error) => write!(f, "bad PROXY header: {error}"),
            Self::HandlerError(error) => write!(f, "the handler failed: {error}"),
            Self::HandlerPanicked => f.write_str("the handler panicked"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
            Self::MemoryCeiling => f.write_str("the memory ceiling was reached"),
            Self::RateExceeded => f.write_str("the peer sent more than its rate allows"),
        }
    }
}

/// `on_open` says no: the connection is closed after what was sent to it, without an `on_close`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refuse {
    reason: String,
}

impl Refuse {
    /// A refusal with its reason, for the log.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
