//! What a stop waits for, and what it does not wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::{CloseReason, ErrorKind, Frame, Handler, Refuse, Session, Strand};

use super::{host_with, ms, started};
use crate::support::{Hold, World};

/// Saves each player who leaves on a strand.
struct Saves(Strand<Arc<AtomicUsize>>);

impl Handler for Saves {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Ok(())
    }

    fn on_close(&self, _: &Session<Self>, (): (), _: CloseReason) {
        let save = |saved: &mut Arc<AtomicUsize>| {
            // As a database would.
            std::thread::sleep(ms(350));
            saved.fetch_add(1, Ordering::SeqCst);
        };
        self.0.post(save).unwrap();
    }
}

/// What the last `on_close` has posted runs, and what runs may come to its end.
pub(crate) fn a_stop_lets_jobs_of_on_close_run(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(2).build().unwrap();
    let saved = Arc::new(AtomicUsize::new(0));
    let strand = port.strand(Arc::clone(&saved));
    let server = host.server("game", Saves(strand)).port(&port);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let players: Vec<_> = (0..4)
        .map(|_| w.connect(net.local_addr().unwrap()))
        .collect();
    w.until("all are in", || net.sessions().len() == 4);
    drop(players);
    host.stop().unwrap();
    assert_eq!(saved.load(Ordering::SeqCst), 4);
}

struct BlocksWhenDropped(Hold);

impl Drop for BlocksWhenDropped {
    fn drop(&mut self) {
        self.0.enter();
    }
}

/// A drop that never returns occupies a worker outside of any turn: the stop names it, and ends.
pub(crate) fn a_drop_that_blocks_is_named(w: &World) {
    let (mut host, _, net) = host_with(w, 2);
    host.start().unwrap();
    let peer = w.connect(net.local_addr().unwrap());
    w.until("it is in", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let hold = w.hold();
    let blocks = BlocksWhenDropped(hold.clone());
    // Its session is over when its time comes, so it is dropped where the timer fires.
    session
        .post_after(ms(300), move |_, ()| drop(blocks))
        .unwrap();
    drop((session, peer));
    w.until("a worker is stuck", || hold.entered() > 0);
    let error = host.stop().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stuck, "{error}");
    hold.release();
}

/// Two ticks that overrun are always due. They once kept each other running, and no job ever ran.
pub(crate) fn jobs_run_beside_ticks_that_overrun(w: &World) {
    let (mut host, port) = started(w, 1);
    let strand = port.strand(0);
    for _ in 0..2 {
        let late = |_: &mut i32, _: &wharf::Tick| std::thread::sleep(ms(8));
        strand.every(ms(5), late).unwrap();
    }
    w.pass(ms(50));
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let ran = Arc::clone(&ran);
        let job = move |_: &mut i32| {
            ran.fetch_add(1, Ordering::SeqCst);
        };
        strand.post(job).unwrap();
    }
    w.until("the jobs ran", || ran.load(Ordering::SeqCst) == 10);
    host.stop().unwrap();
}
