//! The sessions of a network whose frames wait for a tick: what its flush looks through.

use parking_lot::Mutex;

use super::{Session, word};
use crate::handler::Handler;

/// The sessions, each at most once: [`word::LISTED`] is set while one is in.
pub(crate) struct HeldList<H: Handler>(Mutex<Vec<Session<H>>>);

impl<H: Handler> HeldList<H> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Adds a session whose mark the caller has just set. Those that are over leave when the list
    /// would grow: where nobody flushes the whole network, nothing else takes them out.
    pub(crate) fn add(&self, session: Session<H>) {
        let mut over = Vec::new();
        let mut list = self.0.lock();
        if list.len() == list.capacity() {
            over.extend(list.extract_if(.., |listed| listed.0.word.has(word::DEAD)));
            // Not again before as many more came: looking through costs each of them one look.
            let len = list.len();
            list.reserve(len);
        }
        list.push(session);
        drop(list);
        // Outside the lock: the last handle of a session takes what it holds with it.
        drop(over);
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<Session<H>> {
        std::mem::take(&mut self.0.lock())
    }

    /// Gives back the emptied list for its room.
    pub(crate) fn put_back(&self, mut emptied: Vec<Session<H>>) {
        debug_assert!(emptied.is_empty());
        let mut list = self.0.lock();
        if list.capacity() < emptied.capacity() {
            emptied.append(&mut list);
            *list = emptied;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use crate::{FlushMode, Frame, Handler, Host, Refuse, Result, Session};

    struct Greets;

    impl Handler for Greets {
        type State = ();

        fn on_open(&self, session: &Session<Self>) -> Result<(), Refuse> {
            let sent = session.send(b"hello");
            sent.map_err(|error| Refuse::new(error.to_string()))
        }

        fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> Result<()> {
            Ok(())
        }
    }

    /// Sessions come, are flushed one by one, and go; nobody flushes the network.
    #[test]
    fn sessions_that_are_over_leave_the_list() {
        let mut host = Host::new();
        let server = host.server("greets", Greets).flush(FlushMode::Tick);
        let net = server.listen("127.0.0.1:0").unwrap();
        host.start().unwrap();
        for _ in 0..200 {
            let mut peer = TcpStream::connect(net.local_addr().unwrap()).unwrap();
            let session = loop {
                if let Some(session) = net.sessions().first() {
                    break session;
                }
                std::thread::yield_now();
            };
            session.flush();
            peer.read_exact(&mut [0; 7]).unwrap();
            drop(peer);
            while session.is_open() || !net.sessions().is_empty() {
                std::thread::yield_now();
            }
        }
        let listed = net.0.held.0.lock().len();
        assert!((1..=32).contains(&listed), "{listed} of 200");
        host.stop().unwrap();
        assert!(
            net.0.held.0.lock().is_empty(),
            "they would keep the network"
        );
    }
}
