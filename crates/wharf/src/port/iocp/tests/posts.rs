//! Posts that are refused, stale, or come without an op.

use super::*;

fn waits_for(port: &Arc<Iocp>, token: Token) -> std::thread::JoinHandle<()> {
    let port = Arc::clone(port);
    let wait = move || {
        let mut out = Vec::new();
        while !out.iter().any(|ready: &Ready| ready.token == token) {
            port.wait(&mut out, 64, Wait::Block).unwrap();
        }
    };
    std::thread::Builder::new()
        .name("sleeps".into())
        .spawn(wait)
        .unwrap()
}

fn joined(thread: std::thread::JoinHandle<()>) {
    let begin = Instant::now();
    while !thread.is_finished() {
        assert!(begin.elapsed() < PATIENCE, "it sleeps for ever");
        nap();
    }
    thread.join().unwrap();
}

/// The system has no memory for the post, and everybody sleeps.
#[test]
fn a_refused_post_loses_no_wake() {
    for refused in [1, 2, 5] {
        let port = Arc::new(open());
        let sleeper = waits_for(&port, Token::WAKE);
        // Asleep, mostly; awake is as good a case.
        nap();
        port.shared.bell.refuse.store(refused, Ordering::Release);
        port.wake();
        joined(sleeper);
    }
}

#[test]
fn a_refused_post_loses_no_timer() {
    let port = Arc::new(open());
    let sleeper = waits_for(&port, Token::TIMER);
    port.shared.bell.refuse.store(3, Ordering::Release);
    port.set_timer(Some(port.now() + Duration::from_millis(10)));
    joined(sleeper);
}

/// The timer that tries again is the port's own: a deadline set meanwhile puts nothing off.
#[test]
fn a_deadline_puts_off_no_retry() {
    let port = Arc::new(open());
    let sleeper = waits_for(&port, Token::WAKE);
    // Asleep, or it would look by itself.
    std::thread::park_timeout(Duration::from_millis(50));
    port.shared.bell.refuse.store(1, Ordering::Release);
    port.wake();
    port.set_timer(Some(port.now() + Duration::from_secs(3600)));
    joined(sleeper);
}

/// A worker that looks before the retry finds what was to be posted.
#[test]
fn a_refused_post_is_found_by_whoever_looks() {
    let port = open();
    port.shared.bell.refuse.store(1, Ordering::Release);
    port.wake();
    assert_eq!(
        reports(&port).first().map(|ready| ready.token),
        Some(Token::WAKE)
    );
}

#[test]
fn posts_without_anything_to_tell_report_nothing() {
    let port = Arc::new(open());
    for _ in 0..10 {
        port.shared.bell.port.post().unwrap();
    }
    for _ in 0..20 {
        assert!(reports(&port).is_empty());
    }
    for _ in 0..10 {
        port.shared.bell.port.post().unwrap();
    }
    let sleeper = waits_for(&port, Token::WAKE);
    nap();
    port.wake();
    joined(sleeper);
}

/// Wakes, timers and sleepers at once: each round's wake and timer reach somebody.
#[test]
fn every_wake_and_every_timer_reaches_a_sleeper() {
    let port = Arc::new(open());
    for round in 0..40_u64 {
        let (wakes, timers) = (
            waits_for(&port, Token::WAKE),
            waits_for(&port, Token::TIMER),
        );
        let begin = Instant::now();
        while !(wakes.is_finished() && timers.is_finished()) {
            assert!(begin.elapsed() < PATIENCE, "round {round}");
            // One of the two may have taken what the other waits for.
            port.wake();
            port.set_timer(Some(port.now() + Duration::from_micros(round % 5 * 300)));
            std::thread::park_timeout(Duration::from_millis(5));
        }
        joined(wakes);
        joined(timers);
    }
}
