//! A port whose kernel queue fails: what hangs on the queue ends, the workers go on as a pool's.
//!
//! That happens when somebody closes a descriptor that is not his. Nothing reports the sockets any
//! more, so sessions end for the reason `io`, with their `on_close` (G2), and listeners and links
//! stop. What needs no queue goes on: turns, jobs, strands, deadlines, the stop. The workers then
//! sleep where a pool's do.

use std::io;
use std::sync::atomic::{Ordering, fence};

use super::contract::{Backend, Ready, Wait};
use super::core::PortCore;
use super::parking::Parking;
use crate::say::say;
use crate::time::Time;

impl PortCore {
    /// Appends what is reported, after a sleep perhaps; of a broken queue, nothing of its sockets.
    pub(super) fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) {
        if let Some(refuge) = self.refuge() {
            // A place to sleep at does not fail.
            let _ = refuge.wait(out, max, how);
            return;
        }
        if let Err(error) = self.backend.wait(out, max, how) {
            self.broke(&error);
        }
        if self.refuge().is_some() {
            // Others may sleep in the queue yet: who comes out of it calls the next one.
            self.backend.wake();
        }
    }

    /// Ends some worker's sleep, wherever it sleeps.
    pub(crate) fn wake(&self) {
        if let Some(refuge) = self.refuge() {
            refuge.wake();
        }
        self.backend.wake();
    }

    /// Sets the one timer of the port, under the lock of its deadlines.
    pub(super) fn set_timer(&self, at: Time) {
        match self.refuge() {
            Some(refuge) => refuge.set_timer(Some(at)),
            None => self.backend.set_timer(Some(at)),
        }
    }

    /// Whether its queue has failed. Who has put something into the table asks afterwards.
    pub(crate) fn is_broken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.broken.get().is_some()
    }

    /// Where the workers sleep instead.
    fn refuge(&self) -> Option<&Parking> {
        self.broken.get()?.as_ref()
    }

    #[cold]
    fn broke(&self, error: &io::Error) {
        let mut first = false;
        self.broken.get_or_init(|| {
            first = true;
            // A simulated worker never sleeps, and only the failure is simulated.
            self.backend.is_real_time().then(Parking::default)
        });
        if !first {
            return;
        }
        say!(error, port = %self.name, %error,
            "the kernel queue failed: sessions end, listeners and links stop; jobs go on");
        // What the queue's timer was set to is told to nobody now; nor a wake that was posted, and
        // until that is heard no other is.
        self.timer_fired();
        self.wake();
        // Before the look: who comes into the table after it sees that the port is broken.
        fence(Ordering::SeqCst);
        for tenant in self.table.tenants() {
            tenant.unreported(error.kind());
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use crate::port::contract::{Token, Wait};
    use crate::port::{PortCore, Served};
    use crate::sched::Picked;
    use crate::time::Time;
    use crate::{CloseReason, Frame, Handler, Host, LinkState, Network, Refuse, Session};

    struct Nobody;

    impl Served for Nobody {
        fn timer(self: Arc<Self>, _: Time) {}
        fn discard(self: Arc<Self>) {}
    }

    /// Echoes; on `break` the system refuses the calling worker its waits from now on.
    #[derive(Clone, Default)]
    struct Echo(Arc<Mutex<Vec<&'static str>>>);

    impl Handler for Echo {
        type State = ();

        fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
            Ok(())
        }

        fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> crate::Result<()> {
            if f.payload() == b"break" {
                refuse_waits();
            }
            Ok(s.send(f.payload())?)
        }

        fn on_close(&self, _: &Session<Self>, (): (), reason: CloseReason) {
            self.0.lock().push(reason.name());
        }
    }

    /// From now on this thread's waits at an epoll fail with EBADF.
    fn refuse_waits() {
        let mut calls = vec![libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
        #[cfg(target_arch = "x86_64")]
        calls.push(libc::SYS_epoll_wait);
        let filter = SeccompFilter::new(
            calls
                .into_iter()
                .map(|call| (call, Vec::new()))
                .collect::<BTreeMap<_, _>>(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EBADF.cast_unsigned()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    }

    fn until(mut done: impl FnMut() -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < limit, "it never came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn connect(server: &Network<Echo>) -> TcpStream {
        let mut peer = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let limit = Some(Duration::from_secs(20));
        peer.set_read_timeout(limit).unwrap();
        peer.write_all(b"\x07\0hello").unwrap();
        peer.read_exact(&mut [0; 7]).unwrap();
        peer
    }

    fn breaks(backend: &str, workers: usize) {
        let mut host = Host::new().with_backend(backend);
        let port = host.port("main").workers(workers).build().unwrap();
        let ends = Echo::default();
        let server = host.server("game", ends.clone()).port(&port);
        let server = server.listen("127.0.0.1:0").unwrap();
        let link_ends = Echo::default();
        let link = host.client("link", link_ends.clone()).port(&port);
        let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = link.connect(far.local_addr().unwrap().to_string()).unwrap();
        let strand = port.strand(0u32);
        host.start().unwrap();
        let mut peers: Vec<_> = (0..5).map(|_| connect(&server)).collect();
        until(|| matches!(link.links()[0], LinkState::Connected(_)));
        peers[0].write_all(b"\x07\0break").unwrap();
        // With siblings, the worker that was struck has to come to its next wait.
        until(|| {
            let _ = peers[1].write_all(b"\x07\0hello");
            host.stats().ports[0].broken
        });
        until(|| ends.0.lock().len() == peers.len());
        assert_eq!(*ends.0.lock(), vec!["io"; peers.len()]);
        until(|| link.links()[0] == LinkState::Stopped);
        assert_eq!(*link_ends.0.lock(), ["io"]);
        for peer in &mut peers {
            let _ = peer.read_to_end(&mut Vec::new());
        }
        // Only its socket can tell that the listener has gone, so that may take a moment.
        until(|| TcpStream::connect(server.local_addr().unwrap()).is_err());
        // What needs no queue goes on, deadlines too.
        let (done, told) = mpsc::sync_channel(2);
        let later = done.clone();
        strand.post(move |_| done.send(1).unwrap()).unwrap();
        let after = Duration::from_millis(5);
        strand
            .post_after(after, move |_| later.send(2).unwrap())
            .unwrap();
        let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!([next(), next()], [1, 2]);
        host.stop().unwrap();
        assert_eq!(host.stats().networks[0].sessions_live, 0);
    }

    /// It would have kept all later ones from being posted.
    #[test]
    fn a_wake_that_was_posted_before_is_heard() {
        let backend = crate::port::epoll::Epoll::open().unwrap();
        let port = PortCore::new("main".into(), Arc::new(backend), Vec::new());
        let mut queue = port.queue.lock();
        queue.join();
        assert!(matches!(queue.pick(port.now()).0, Picked::Park(_)));
        assert!(queue.push_work(Arc::new(Nobody)), "somebody sleeps");
        drop(queue);
        port.backend.wake();
        port.broke(&std::io::Error::other("the descriptor was closed"));
        let mut out = Vec::new();
        port.wait(&mut out, 64, Wait::Poll);
        let tokens: Vec<_> = out.iter().map(|ready| ready.token).collect();
        assert_eq!(tokens, [Token::WAKE]);
    }

    #[test]
    fn a_broken_queue_ends_its_sessions() {
        for workers in [1, 3] {
            breaks("epoll", workers);
        }
    }
}
