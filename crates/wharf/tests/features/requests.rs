//! Requests over a client link: each is told once how it ended, whatever came in between.

use std::time::Duration;

use wharf::{
    Answer, CloseReason, Frame, Handler, Host, Network, Reconnect, Refuse, RequestError, Requests,
    SendError, Session,
};

use crate::support::{
    At, Layout, Listener, Log, Peer, Role, World, check_stopped, number, numbered,
};

/// A link to a server that repeats the first four bytes of a question in its answer.
pub(crate) struct Link {
    pub(crate) in_flight_max: usize,
}

/// The state of such a link.
pub(crate) struct Asking {
    pub(crate) requests: Requests<Link>,
    pub(crate) next: u32,
}

impl Handler for Link {
    type State = Asking;

    fn on_open(&self, _: &Session<Self>) -> Result<Asking, Refuse> {
        Ok(Asking {
            requests: Requests::new(self.in_flight_max),
            next: 0,
        })
    }

    fn on_frame(
        &self,
        s: &Session<Self>,
        link: &mut Asking,
        frame: Frame<'_>,
    ) -> wharf::Result<()> {
        if let Some(waiting) = link.requests.answer(&number(frame.payload())) {
            waiting.finish(s, link, frame);
        }
        Ok(())
    }

    fn on_close(&self, s: &Session<Self>, mut link: Asking, _: CloseReason) {
        link.requests.clone().close(s, &mut link);
    }
}

/// How a request ended: its key, and the answer's bytes behind the key.
type Ends = Log<(u32, Result<Vec<u8>, RequestError>)>;

const LONG: Duration = Duration::from_secs(300);

/// What notes the end of request `key`.
fn note(
    ends: &Ends,
    key: u32,
) -> impl FnOnce(&Session<Link>, &mut Asking, Answer<'_>) + Send + use<> {
    let ends = ends.clone();
    move |_, _, answer| ends.push((key, answer.map(|answer| answer[4..].to_vec())))
}

fn reply(key: u32, text: &[u8]) -> Vec<u8> {
    crate::support::frame(&[&key.to_le_bytes(), text].concat())
}

/// A host with one link, and the server's end of it.
struct Linked {
    host: Host,
    net: Network<Link>,
    session: Session<Link>,
    requests: Requests<Link>,
    peer: Peer,
    _listener: Listener,
}

fn link(w: &World, layout: Layout, in_flight_max: usize) -> Linked {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let mut host = w.host();
    let place = layout.ports().get(&mut host, Role::Main);
    let client = host.client("game", Link { in_flight_max }).at(&place);
    let client = client.reconnect(Reconnect {
        enabled: false,
        ..Reconnect::default()
    });
    let net = client.connect(listener.addr()).unwrap();
    host.start().unwrap();
    let peer = listener.accept();
    w.until("the link is open", || !net.sessions().is_empty());
    let session = net.sessions().first().unwrap();
    let requests = Log::default();
    let told = requests.clone();
    let posted = session.post(move |_, link| told.push(link.requests.clone()));
    posted.unwrap();
    w.until("the job ran", || requests.len() == 1);
    Linked {
        host,
        net,
        session,
        requests: requests.take().remove(0),
        peer,
        _listener: listener,
    }
}

fn finish(mut host: Host) {
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// Asked in jobs of the link and by a thread that is no worker, answered in any order: each finds
/// who asked. What is one too many, or has a key in use, is refused and leaves the others alone.
pub(crate) fn answers_find_who_asked(w: &World, layout: Layout) {
    let count = 40_u32;
    let mut at = link(w, layout, count as usize);
    let ends = Ends::default();
    for round in 0..3 {
        let first = round * count;
        for key in first..first + count {
            let then = note(&ends, key);
            if key % 2 == 0 {
                let sent = at
                    .requests
                    .send(&at.session, key, &key.to_le_bytes(), LONG, then);
                sent.unwrap();
            } else {
                let ask = move |s: &Session<Link>, link: &mut Asking| {
                    let encode = |out: &mut Vec<u8>| {
                        out.extend_from_slice(&key.to_le_bytes());
                        Ok(())
                    };
                    link.requests.send_with(s, key, encode, LONG, then).unwrap();
                };
                at.session.post(ask).unwrap();
            }
        }
        let mut keys: Vec<_> = (0..count).map(|_| number(&at.peer.recv())).collect();
        let send = |key| {
            let payload = b"one more, which nobody asks";
            at.requests
                .send(&at.session, key, payload, LONG, |_, _, _| {
                    unreachable!("it was refused");
                })
        };
        assert_eq!(send(first), Err(RequestError::KeyInUse));
        assert_eq!(send(u32::MAX), Err(RequestError::TooMany));
        assert_eq!(at.requests.stats().in_flight, count as usize);
        while !keys.is_empty() {
            let key = keys.swap_remove(w.below(keys.len()));
            at.peer.write(&reply(key, format!("for {key}").as_bytes()));
        }
        w.until("all are answered", || ends.len() == count as usize);
        let mut ended = ends.take();
        ended.sort_by_key(|(key, _)| *key);
        for (key, (of, answer)) in (first..).zip(ended) {
            assert_eq!((of, answer), (key, Ok(format!("for {key}").into_bytes())));
        }
    }
    // Nobody asked this, and nobody asks it again.
    at.peer.write(&reply(7, b"once more"));
    w.until("it has come", || at.requests.stats().unknown == 1);
    let stats = at.requests.stats();
    assert_eq!((stats.in_flight, stats.answered), (0, 3 * u64::from(count)));
    assert_eq!((stats.refused, stats.timed_out, stats.closed), (6, 0, 0));
    drop(at.peer);
    assert!(ends.take().is_empty(), "told once");
    finish(at.host);
}

/// A time runs out: that is told, the late answer is not, and until it came its key is taken.
pub(crate) fn a_late_answer_finds_nobody(w: &World) {
    let mut at = link(w, Layout::Shared(2), 2);
    let ends = Ends::default();
    let ask = |key: u32, timeout| {
        let then = note(&ends, key);
        at.requests
            .send(&at.session, key, &key.to_le_bytes(), timeout, then)
    };
    let short = Duration::from_millis(5);
    ask(1, short).unwrap();
    ask(2, LONG).unwrap();
    w.until("one time ran out", || ends.len() == 1);
    assert_eq!(ends.take(), [(1, Err(RequestError::TimedOut))]);
    assert_eq!(
        ask(1, LONG),
        Err(RequestError::KeyInUse),
        "its answer is owed"
    );
    ask(3, LONG).unwrap();
    at.peer.write(&reply(1, b"late"));
    at.peer.write(&reply(2, b"in time"));
    w.until("the second is answered", || ends.len() == 1);
    assert_eq!(ends.take(), [(2, Ok(b"in time".to_vec()))]);
    assert_eq!(at.requests.stats().late, 1);
    ask(1, LONG).unwrap();
    at.peer.write(&reply(1, b"anew"));
    w.until("it is answered", || ends.len() == 1);
    assert_eq!(ends.take(), [(1, Ok(b"anew".to_vec()))]);
    // Only so many keys are kept for late answers: the oldest is given free.
    at.peer.write(&reply(3, b""));
    w.until("nothing is in flight", || {
        at.requests.stats().in_flight == 0
    });
    ends.take();
    for key in 10..13 {
        ask(key, short).unwrap();
        w.until("its time ran out", || ends.len() == 1);
        ends.take();
    }
    assert_eq!(ask(12, LONG), Err(RequestError::KeyInUse));
    assert_eq!(ask(11, LONG), Err(RequestError::KeyInUse));
    ask(10, LONG).unwrap();
    let stats = at.requests.stats();
    assert_eq!((stats.timed_out, stats.late, stats.in_flight), (4, 1, 1));
    drop(at.peer);
    w.until("the last is told", || ends.len() == 1);
    assert_eq!(ends.take(), [(10, Err(RequestError::Closed))]);
    finish(at.host);
}

/// The session ends: all that wait are told so, in their order, and nothing is accepted any more.
/// What could not be sent is told to its caller alone.
pub(crate) fn a_close_fails_who_waits(w: &World, layout: Layout) {
    let mut at = link(w, layout, 100);
    let ends = Ends::default();
    for key in 0..30_u32 {
        let then = note(&ends, key);
        let sent = at
            .requests
            .send(&at.session, key, &key.to_le_bytes(), LONG, then);
        sent.unwrap();
    }
    let failed = at.requests.send_with(
        &at.session,
        99,
        |_| Err(SendError::Framing),
        LONG,
        note(&ends, 99),
    );
    assert_eq!(failed, Err(RequestError::Send(SendError::Framing)));
    assert_eq!(at.requests.stats().in_flight, 30, "it left nothing");
    for key in 0..10 {
        assert_eq!(number(&at.peer.recv()), key);
        at.peer.write(&numbered(key));
    }
    w.until("some are answered", || ends.len() == 10);
    assert!(ends.take().iter().all(|(_, answer)| answer.is_ok()));
    drop(at.peer);
    w.until("the link is over", || at.net.sessions().is_empty());
    w.until("the others are told", || ends.len() == 20);
    let expected: Vec<_> = (10..30)
        .map(|key| (key, Err(RequestError::Closed)))
        .collect();
    assert_eq!(ends.take(), expected);
    let sent = at
        .requests
        .send(&at.session, 50, b"late", LONG, note(&ends, 50));
    assert_eq!(sent, Err(RequestError::Closed));
    assert_eq!(at.requests.stats().closed, 20);
    finish(at.host);
    assert_eq!(ends.len(), 0);
}

/// Threads ask while answers come, times run out and the session ends: each request that was
/// accepted is told once, and each that was not is told to its caller alone.
pub(crate) fn each_request_ends_once(w: &World) {
    let (callers, asked) = w.pick((3, 200_u32), (3, 15));
    let mut at = link(w, Layout::Shared(2), 64);
    let (ends, accepted) = (Ends::default(), Log::default());
    let caller = |index: u32| -> Box<dyn FnMut() -> bool + Send> {
        let (requests, session) = (at.requests.clone(), at.session.clone());
        let (ends, accepted, mut n) = (ends.clone(), accepted.clone(), 0);
        Box::new(move || {
            let key = index * 1000 + n;
            let timeout = Duration::from_millis(u64::from(n % 3));
            let timeout = if n % 4 == 0 { LONG } else { timeout };
            let then = note(&ends, key);
            if requests
                .send(&session, key, &key.to_le_bytes(), timeout, then)
                .is_ok()
            {
                accepted.push(key);
            }
            n += 1;
            if n == asked / 2 && index == 1 {
                session.close();
            }
            n == asked
        })
    };
    let mut callers: Vec<_> = (0..callers).map(caller).collect();
    let session = at.session.clone();
    if w.is_sim() {
        w.at_once(callers);
        at.peer.look();
    } else {
        // The peer answers what it has read, from here, until the session is over.
        std::thread::scope(|scope| {
            for mut caller in callers.drain(..) {
                let thread = std::thread::Builder::new().name("caller".to_owned());
                thread
                    .spawn_scoped(scope, move || while !caller() {})
                    .unwrap();
            }
            while session.is_open() {
                at.peer.look();
                for question in at.peer.take_frames() {
                    at.peer.write_or_break(&numbered(number(&question)));
                }
            }
        });
    }
    at.peer.half_close();
    w.until("the session is over", || at.net.sessions().is_empty());
    w.until("all are told", || ends.len() >= accepted.len());
    drop(at.peer);
    finish(at.host);
    let mut told: Vec<_> = ends.take().into_iter().map(|(key, _)| key).collect();
    let mut accepted = accepted.take();
    told.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(told, accepted);
    let stats = at.requests.stats();
    let ended = stats.answered + stats.timed_out + stats.closed;
    assert_eq!((stats.in_flight, ended), (0, accepted.len() as u64));
}
