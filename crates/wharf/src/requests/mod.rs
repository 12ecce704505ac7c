//! Request and response on a session: each answer finds who asked, or its time runs out.

mod book;

use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::contain::contained;
use crate::error::{Error, ErrorKind, SendError};
use crate::frame::Frame;
use crate::handler::Handler;
use crate::session::Session;
use book::{Book, Found};

/// How a request ended: with the frame of its answer, or without.
pub type Answer<'a> = Result<Frame<'a>, RequestError>;

/// What runs when a request has come to its end.
type Then<H> = Box<dyn FnOnce(&Session<H>, &mut <H as Handler>::State, Answer<'_>) + Send>;

/// Why a request was not sent, or not answered. Small and `Copy`, as [`SendError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// No answer came in time.
    TimedOut,
    /// The session ended before the answer came, or had ended already.
    Closed,
    /// Not sent: as many requests as may be wait for their answers.
    TooMany,
    /// Not sent: a request with this key waits, or has timed out and may still be answered.
    KeyInUse,
    /// Not sent: the frame or the timer of its timeout was not accepted.
    Send(SendError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer came in time"),
            Self::Closed => f.write_str("the session ended before the answer came"),
            Self::TooMany => f.write_str(
                "not sent: as many requests as may be wait for their answers; raise the limit \
                 that Requests::new was given, or ask less often",
            ),
            Self::KeyInUse => f.write_str(
                "not sent: a request with this key waits, or its late answer may still come; \
                 count keys up instead of using them again",
            ),
            Self::Send(error) => write!(f, "the request was {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<SendError> for RequestError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            error => Self::Send(error),
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::new(ErrorKind::Send, error.to_string())
    }
}

/// What has become of a session's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStats {
    /// Those that wait for their answers now.
    pub in_flight: usize,
    /// Those that were answered.
    pub answered: u64,
    /// Those whose time ran out.
    pub timed_out: u64,
    /// Answers that came after that: nobody was given them.
    pub late: u64,
    /// Answers to nothing that was asked, to something answered before, or too late to be told.
    pub unknown: u64,
    /// Those that failed with their session.
    pub closed: u64,
    /// Those that were refused: too many, or a key in use.
    pub refused: u64,
}

/// The requests of one session that wait for answers, each under its key: the number, name or
/// cookie that the protocol repeats in the answer. Kept in the session's state; a clone is another
/// handle to the same, which may be used from any thread.
///
/// What runs at the end of a request runs serially with the session's callbacks, exactly once, and
/// is told how it ended. While reading from the session is paused, no answer comes either, and
/// times run out.
///
/// At most `in_flight_max` requests wait at once. The keys of as many that have timed out are kept
/// as well: an answer to one of those is counted as late, and the key is refused, so that a late
/// answer is never taken for that to a new request. A request's timeout is a timer of the session
/// ([`Session::post_after`]) and counts among the port's jobs.
///
/// ```
/// use std::time::Duration;
/// use wharf::{CloseReason, Frame, Handler, Refuse, RequestError, Requests, Result, Session};
///
/// /// A link to a server that repeats the first four bytes of a question in its answer.
/// struct AuthLink;
///
/// struct Link {
///     requests: Requests<AuthLink>,
///     next: u32,
/// }
///
/// impl Handler for AuthLink {
///     type State = Link;
///
///     fn on_open(&self, _: &Session<Self>) -> Result<Link, Refuse> {
///         Ok(Link { requests: Requests::new(1000), next: 0 })
///     }
///
///     fn on_frame(&self, s: &Session<Self>, link: &mut Link, frame: Frame<'_>) -> Result<()> {
///         if let Some((key, _)) = frame.payload().split_first_chunk() {
///             if let Some(waiting) = link.requests.answer(&u32::from_le_bytes(*key)) {
///                 waiting.finish(s, link, frame);
///             }
///         }
///         Ok(())
///     }
///
///     fn on_close(&self, s: &Session<Self>, mut link: Link, _: CloseReason) {
///         link.requests.clone().close(s, &mut link);
///     }
/// }
///
/// /// Asks; in a callback of the link, or in a job posted to it.
/// fn is_player(s: &Session<AuthLink>, link: &mut Link, name: &str) -> Result<(), RequestError> {
///     let key = link.next;
///     link.next += 1;
///     let question = [&key.to_le_bytes(), name.as_bytes()].concat();
///     let within = Duration::from_secs(3);
///     link.requests.send(s, key, &question, within, |_, _, answer| match answer {
///         Ok(answer) => println!("{:?}", &answer[4..]),
///         Err(error) => println!("{error}"),
///     })
/// }
///
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut host = wharf::Host::new();
/// # let auth = host.client("auth", AuthLink).connect(listener.local_addr().unwrap()).unwrap();
/// # host.start().unwrap();
/// # let (mut peer, _) = listener.accept().unwrap();
/// # while auth.sessions().is_empty() {}
/// # let link = auth.sessions().first().unwrap();
/// # let (told, ends) = std::sync::mpsc::sync_channel(1);
/// # link.post(move |s, link| {
/// #     is_player(s, link, "Ann").unwrap();
/// #     told.send(link.requests.clone()).unwrap();
/// # }).unwrap();
/// # let requests = ends.recv().unwrap();
/// # let mut question = [0; 9];
/// # peer.read_exact(&mut question).unwrap();
/// # assert_eq!(&question, b"\x09\x00\x00\x00\x00\x00Ann");
/// # assert_eq!(requests.stats().in_flight, 1);
/// # peer.write_all(b"\x07\x00\x00\x00\x00\x00y").unwrap();
/// # while requests.stats().answered == 0 {}
/// # drop(peer);
/// # host.stop().unwrap();
/// ```
pub struct Requests<H: Handler, K = u32>(Arc<Mutex<Book<H, K>>>);

impl<H: Handler, K> Clone for Requests<H, K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler, K> fmt::Debug for Requests<H, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests(..)")
    }
}

impl<H: Handler, K: Clone + Eq + Hash + Send + 'static> Requests<H, K> {
    /// No requests yet, and at most so many at once.
    #[must_use]
    pub fn new(in_flight_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Book::new(in_flight_max))))
    }

    /// Sends a frame with this payload to the session, whose requests these are, and has `then` run
    /// with the answer, or once `timeout` has passed. `then` is handed the frame that
    /// [`Waiting::finish`] is given.
    ///
    /// # Errors
    /// Nothing was sent then, and `then` is dropped without a call.
    pub fn send(
        &self,
        session: &Session<H>,
        key: K,
        payload: &[u8],
        timeout: Duration,
        then: impl FnOnce(&Session<H>, &mut H::State, Answer<'_>) + Send + 'static,
    ) -> Result<(), RequestError> {
        let send = || session.send(payload);
        self.begin(session, key, timeout, Box::new(then), send)
    }

    /// The same with a payload that `encode` appends to the buffer it is given, as
    /// [`Session::send_with`] does.
    ///
    /// # Errors
    /// As [`Self::send`]; [`RequestError::Send`] with what `encode` returned.
    pub fn send_with(
        &self,
        session: &Session<H>,
        key: K,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), SendError>,
        timeout: Duration,
        then: impl FnOnce(&Session<H>, &mut H::State, Answer<'_>) + Send + 'static,
    ) -> Result<(), RequestError> {
        let send = || session.send_with(encode);
        self.begin(session, key, timeout, Box::new(then), send)
    }

    fn begin(
        &self,
        session: &Session<H>,
        key: K,
        timeout: Duration,
        then: Then<H>,
        send: impl FnOnce() -> Result<(), SendError>,
    ) -> Result<(), RequestError> {
        let begun = self.0.lock().begin(key.clone(), then);
        let serial = begun.map_err(|(refused, _then)| refused)?;
        let (book, late) = (Arc::downgrade(&self.0), key.clone());
        let timer = session.post_after(timeout, move |session, state| {
            let then = book
                .upgrade()
                .and_then(|book| book.lock().time_out(&late, serial));
            if let Some(then) = then {
                then(session, state, Err(RequestError::TimedOut));
            }
        });
        // The answer may come as soon as the frame is out: so it is sent when all is in its place.
        let sent = timer.and_then(|timer| {
            let spare = self.0.lock().set_timer(&key, serial, timer);
            if let Some(ended) = spare {
                ended.cancel();
            }
            send()
        });
        let Err(error) = sent else { return Ok(()) };
        let withdrawn = self.0.lock().withdraw(&key, serial);
        match withdrawn {
            // Outside the lock: what it holds is the user's.
            Some((then, timer)) => {
                if let Some(timer) = timer {
                    timer.cancel();
                }
                drop(then);
                Err(error.into())
            }
            // It has come to its end meanwhile, and was told so.
            None => Ok(()),
        }
    }

    /// An answer with this key has come: who waits for it, and waits no more. `None` if nobody
    /// does: it is late, or answers nothing that was asked, and is counted as that.
    pub fn answer(&self, key: &K) -> Option<Waiting<H>> {
        let found = self.0.lock().answer(key);
        match found {
            Found::Waiting(then, timer) => {
                if let Some(timer) = timer {
                    timer.cancel();
                }
                Some(Waiting(then))
            }
            Found::Nobody => None,
        }
    }

    /// Fails all that wait with [`RequestError::Closed`], the oldest first, and those to come; for
    /// the session's `on_close`. Returns how many there were. Without this call they would be
    /// dropped with the state, told nothing.
    ///
    /// # Panics
    /// With what one of them panicked, once all were told.
    pub fn close(&self, session: &Session<H>, state: &mut H::State) -> usize {
        let waiting = self.0.lock().close();
        let count = waiting.len();
        let mut first_panic = None;
        for (then, timer) in waiting {
            if let Some(timer) = timer {
                timer.cancel();
            }
            // Each is told, whatever another does with the news: a panic goes on at the end.
            let told = || then(session, state, Err(RequestError::Closed));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(told)) {
                match first_panic {
                    None => first_panic = Some(panic),
                    Some(_) => _ = contained(|| drop(panic)),
                }
            }
        }
        if let Some(panic) = first_panic {
            resume_unwind(panic);
        }
        count
    }

    /// What has become of the requests so far.
    #[must_use]
    pub fn stats(&self) -> RequestStats {
        self.0.lock().stats()
    }
}

/// The one who waits for an answer that has just come. Two steps, so that the state in which the
/// [`Requests`] lie is free again when the answer is handed over.
#[must_use = "who waits for the answer is told by .finish(..)"]
pub struct Waiting<H: Handler>(Then<H>);

impl<H: Handler> Waiting<H> {
    /// Hands the answer over. The handler has decoded as much of the frame as it needed for the
    /// key; the rest is for the one who asked.
    pub fn finish(self, session: &Session<H>, state: &mut H::State, answer: Frame<'_>) {
        (self.0)(session, state, Ok(answer));
    }
}

impl<H: Handler> fmt::Debug for Waiting<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting(..)")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{CloseReason, Host, Refuse, Result};

    struct Link;

    impl Handler for Link {
        type State = Requests<Self>;

        fn on_open(&self, _: &Session<Self>) -> Result<Requests<Self>, Refuse> {
            Ok(Requests::new(10))
        }

        fn on_frame(&self, _: &Session<Self>, _: &mut Requests<Self>, _: Frame<'_>) -> Result<()> {
            Ok(())
        }

        fn on_close(&self, s: &Session<Self>, mut requests: Requests<Self>, _: CloseReason) {
            requests.clone().close(s, &mut requests);
        }
    }

    /// The first of three panics at the news.
    #[test]
    fn all_are_told_of_the_close_whatever_one_of_them_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut host = Host::new();
        let link = host.client("link", Link);
        let link = link.connect(listener.local_addr().unwrap()).unwrap();
        host.start().unwrap();
        let (_peer, _) = listener.accept().unwrap();
        let session = loop {
            if let Some(session) = link.sessions().first() {
                break session;
            }
            std::thread::yield_now();
        };
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let ask = move |s: &Session<Link>, requests: &mut Requests<Link>| {
            for key in 0..3 {
                let tell = Arc::clone(&tell);
                let long = Duration::from_secs(300);
                let sent = requests.send(s, key, b"?", long, move |_, _, answer| {
                    assert_eq!(answer.unwrap_err(), RequestError::Closed);
                    tell.fetch_add(1, Ordering::SeqCst);
                    assert!(key > 0, "the first does not like it");
                });
                sent.unwrap();
            }
            s.abort();
        };
        session.post(ask).unwrap();
        while host.stats().networks[0].ended == 0 {
            std::thread::yield_now();
        }
        assert_eq!(told.load(Ordering::SeqCst), 3);
        assert_eq!(host.stats().networks[0].panics, 1);
        host.stop().unwrap();
    }
}
