//! Plain jobs, their timers, and the delayed jobs of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::{ErrorKind, Lane, SendError, Session, StrandOptions};

use super::{count, host_with, ms, started};
use crate::support::{Act, Log, World, finish};

/// A job that holds its worker holds nobody else.
pub(crate) fn jobs_run_side_by_side(w: &World) {
    let (host, port) = started(w, 2);
    let hold = w.hold();
    let (stuck, ran) = (hold.clone(), Arc::new(AtomicUsize::new(0)));
    port.post(move || stuck.enter()).unwrap();
    w.until("it is held", || hold.entered() == 1);
    for _ in 0..100 {
        let ran = Arc::clone(&ran);
        port.post(move || count(&ran, 1)).unwrap();
    }
    w.until("the others ran", || ran.load(Ordering::SeqCst) == 100);
    port.post(|| std::panic::resume_unwind(Box::new("asked to")))
        .unwrap();
    w.until("it panicked", || port.jobs().panics == 1);
    hold.release();
    w.until("all ran", || port.jobs().ran == 102);
    assert_eq!(port.jobs().waiting, 0);
    finish(host);
}

pub(crate) fn jobs_are_bounded(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(1).jobs_max(3).build().unwrap();
    let server = host.server("sink", Act::sink()).port(&port);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let hold = w.hold();
    let stuck = hold.clone();
    port.post(move || stuck.enter()).unwrap();
    w.until("it is held", || hold.entered() == 1);
    let _peer = w.connect(net.local_addr().unwrap());
    let kept = Arc::new(());
    let waits = Arc::clone(&kept);
    let timer = port.post_after(ms(3_600_000), || ()).unwrap();
    port.post(|| ()).unwrap();
    port.post(move || drop(waits)).unwrap();
    let refused = Arc::clone(&kept);
    assert_eq!(port.post(move || drop(refused)), Err(SendError::Full));
    assert_eq!(port.post_after(ms(1), || ()).unwrap_err(), SendError::Full);
    assert_eq!(
        Arc::strong_count(&kept),
        2,
        "nothing is left of what was refused"
    );
    assert_eq!((port.jobs().full, port.jobs().waiting), (2, 3));
    assert!(timer.cancel());
    port.post(|| ()).unwrap();
    hold.release();
    w.until("all ran", || port.jobs().ran == 4);
    let jobs = port.jobs();
    assert_eq!((jobs.cancelled, jobs.dropped, jobs.waiting), (1, 0, 0));
    finish(host);
}

pub(crate) fn jobs_wait_for_the_start(w: &World) {
    let (mut host, port, _) = host_with(w, 1);
    let ran = Log::default();
    let (one, two, three) = (ran.clone(), ran.clone(), ran.clone());
    port.post(move || one.push(1)).unwrap();
    let strand = port.strand(2);
    strand.post(move |value| two.push(*value)).unwrap();
    port.post_after(ms(1), move || three.push(3)).unwrap();
    w.pass(ms(10));
    assert_eq!(ran.len(), 0);
    host.start().unwrap();
    w.until("they ran", || ran.len() == 3);
    assert_eq!(ran.take()[..2], [1, 2]);
    finish(host);
}

pub(crate) fn timers_of_a_port(w: &World) {
    let (host, port) = started(w, 2);
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let timer = port.every(ms(2), move |tick| {
        count(&counted, 1);
        assert!(tick.number >= 1);
    });
    let timer = timer.unwrap();
    drop(timer.clone());
    w.until("it ticks", || ran.load(Ordering::SeqCst) > 5);
    assert!(timer.cancel());
    w.until("its closure is gone", || Arc::strong_count(&ran) == 1);
    let once = port.post_after(ms(5), || ()).unwrap();
    w.until("it ran", || port.jobs().ran == 1);
    assert!(!once.cancel());
    let bomb = port.every(ms(1), |_| std::panic::resume_unwind(Box::new("asked to")));
    w.until("it panicked", || port.jobs().panics == 1);
    let bomb = bomb.unwrap();
    w.until("it ended", || !bomb.cancel());
    assert_eq!(bomb.stats().ticks, 1);
    let error = port.every(std::time::Duration::ZERO, |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    finish(host);
}

/// A request's timeout: it comes if the reply does not, waits for room, and dies with its session.
pub(crate) fn a_delayed_job_of_a_session(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(2).build().unwrap();
    let seen = Log::default();
    let (tell, hold) = (seen.clone(), w.hold());
    let stuck = hold.clone();
    let handler = Act::new(|_| Ok(0_u32)).on_frame(move |s: &Session<Act<u32>>, state, payload| {
        let tell = tell.clone();
        *state += 1;
        match payload {
            b"late" => drop(s.post_after(ms(20), move |_, state| tell.push(*state))?),
            b"never" => {
                let timer = s.post_after(ms(20), move |_, _| tell.push(99))?;
                assert!(timer.cancel());
            }
            b"full" => {
                s.post(|_, _| ())?;
                assert_eq!(s.post(|_, _| ()), Err(SendError::Full));
                drop(s.post_after(ms(0), move |_, state| tell.push(*state))?);
                stuck.enter();
            }
            _ => drop(s.post_after(ms(50), move |_, _| tell.push(98))?),
        }
        Ok(())
    });
    let server = host.server("game", handler).port(&port).mailbox_max(1);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    peer.send(b"never");
    peer.send(b"late");
    w.until("the late one came", || seen.len() == 1);
    assert_eq!(seen.take(), [2]);
    peer.send(b"full");
    w.until("it is held", || hold.entered() == 1);
    w.pass(ms(10));
    hold.release();
    w.until("it found room", || seen.len() == 1);
    assert_eq!(seen.take(), [3]);
    peer.send(b"gone");
    w.until("it is armed", || port.jobs().waiting == 1);
    peer.half_close();
    peer.read_to_end();
    w.until("it is dropped", || port.jobs().waiting == 0);
    assert_eq!(seen.len(), 0);
    let jobs = port.jobs();
    assert_eq!(
        (jobs.posted, jobs.ran, jobs.cancelled, jobs.dropped),
        (4, 2, 1, 1)
    );
    assert_eq!(
        session.post_after(ms(1), |_, _| ()).unwrap_err(),
        SendError::Closed
    );
    drop(session);
    finish(host);
}

pub(crate) fn lanes_are_named(w: &World) {
    let mut host = w.host();
    let lanes = host.port("main").workers(1).lane(Lane::new("players"));
    let port = lanes.lane(Lane::new("backend")).build().unwrap();
    let pool = host.pool("high").workers(1).build().unwrap();
    let server = host.server("sink", Act::sink()).port(&port).lane("players");
    server.listen(w.any_addr()).unwrap();
    let ran = Log::default();
    let post = |lane: &str, what| {
        let tell = ran.clone();
        port.post_in(lane, move || tell.push(what))
    };
    post("backend", "low").unwrap();
    post("players", "high").unwrap();
    let options = |lane: &str| StrandOptions {
        lane: Some(lane.into()),
        ..StrandOptions::default()
    };
    let strand = port.strand_with(ran.clone(), options("backend")).unwrap();
    strand.post(|ran| ran.push("low strand")).unwrap();
    let strand = port.strand(ran.clone());
    strand.post(|ran| ran.push("high strand")).unwrap();
    for error in [
        post("playrs", "").unwrap_err(),
        port.strand_with((), options("playrs")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains("playrs") && text.contains("players, backend"),
            "{text}"
        );
    }
    host.start().unwrap();
    w.until("all ran", || ran.len() == 4);
    assert_eq!(ran.take(), ["high", "high strand", "low", "low strand"]);
    // A pool is the same.
    let strand = pool.strand(1);
    let tell = ran.clone();
    strand.post(move |_| tell.push("pool strand")).unwrap();
    let tell = ran.clone();
    pool.post(move || tell.push("pool job")).unwrap();
    let tell = ran.clone();
    let timer = pool.every(ms(1), move |_| tell.push("pool tick")).unwrap();
    w.until("all ran", || {
        timer.stats().ticks > 2 && pool.jobs().ran == 1
    });
    assert!(timer.cancel());
    let ran = ran.take();
    assert!(ran.contains(&"pool strand") && ran.contains(&"pool job"));
    finish(host);
}

/// Jobs, strands and timers of a work alike: none runs beyond the cap of its lane.
pub(crate) fn work_runs_in_its_lane(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(3).lane(Lane::new("players"));
    let port = port.lane(Lane::new("low").also("world").workers_max(1));
    let port = port.build().unwrap();
    let server = host.server("sink", Act::sink()).port(&port).lane("players");
    server.listen(w.any_addr()).unwrap();
    let work = port.work("world").unwrap();
    assert_eq!((work.served_by(), work.lane()), ("main", "low"));
    let error = port.work("wrld").unwrap_err().to_string();
    assert!(error.contains("players, low, world"), "{error}");
    host.start().unwrap();
    let hold = w.hold();
    let (stuck, ran, ticks) = (hold.clone(), Log::default(), Arc::new(AtomicUsize::new(0)));
    work.post(move || stuck.enter()).unwrap();
    w.until("it is held", || hold.entered() == 1);
    let (job, late, player, ticked) = (ran.clone(), ran.clone(), ran.clone(), Arc::clone(&ticks));
    work.post(move || job.push("job")).unwrap();
    work.post_after(ms(1), move || late.push("late")).unwrap();
    let strand = work.strand(ran.clone());
    strand.post(|ran| ran.push("strand")).unwrap();
    let timer = work.every(ms(1), move |_| count(&ticked, 1)).unwrap();
    port.post(move || player.push("player")).unwrap();
    w.until("a player ran", || ran.len() > 0);
    w.pass(ms(20));
    assert_eq!(ran.take(), ["player"]);
    assert_eq!(ticks.load(Ordering::SeqCst), 0);
    hold.release();
    w.until("all ran", || {
        ran.len() == 3 && ticks.load(Ordering::SeqCst) > 0
    });
    assert!(timer.cancel());
    let mut ran = ran.take();
    ran.sort_unstable();
    assert_eq!(ran, ["job", "late", "strand"]);
    finish(host);
}
