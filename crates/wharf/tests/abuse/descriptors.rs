//! No descriptors left: who is in is served on, who waits comes in later, and nobody spins.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use wharf::{Host, LinkState, Reconnect};

use crate::support::{
    Act, Layout, Peer, World, check_stopped, frame, in_simulation, matrix, on_real_sockets, serve,
    skipped,
};

matrix!(a_pause_between_two_tries);
in_simulation!(
    without_descriptors_who_waits_comes_in_later,
    a_link_without_descriptors_waits
);
on_real_sockets!(a_process_without_descriptors_serves_on);

/// A server whose limit is reached goes on, in virtual time for as long as it likes.
fn without_descriptors_who_waits_comes_in_later(w: &World) {
    w.move_much();
    let sim = w.the_sim();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, Layout::Shared(2), handler, |server| server);
    let addr = net.local_addr().unwrap();
    sim.set_descriptors_max(Some(sim.descriptors() + 3));
    let mut peers: Vec<Peer> = (0..8).map(|_| w.connect(addr)).collect();
    for peer in &mut peers {
        peer.send(b"hello");
    }
    w.until("three are in", || ledger.opened() == 3);
    sim.run_for(Duration::from_secs(20)).unwrap();
    assert_eq!(ledger.opened(), 3);
    let backoffs = host.stats().networks[0].accept_backoffs;
    // 10 ms doubled to 500: some 45 in 20 s.
    assert!((10..80).contains(&backoffs), "{backoffs} tries in 20 s");
    let (mut inside, mut waiting): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(|peer| {
        let mut found = false;
        net.sessions()
            .for_each(|s| found |= s.peer_addr() == peer.addr());
        found
    });
    for peer in &mut inside {
        assert_eq!(peer.recv(), b"hello");
        assert_eq!(peer.ask(b"still"), b"still");
    }
    while !waiting.is_empty() {
        drop(inside.pop().unwrap());
        let before = ledger.opened();
        w.until("one of those who wait is in", || {
            ledger.opened() == before + 1
        });
        w.until("it is served", || {
            waiting.iter_mut().any(|peer| peer.look())
        });
        let next = waiting
            .iter()
            .position(|peer| !peer.inbox.is_empty())
            .unwrap();
        inside.push(waiting.swap_remove(next));
        assert_eq!(inside.last_mut().unwrap().recv(), b"hello");
    }
    sim.set_descriptors_max(None);
    drop(inside);
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
    assert_eq!(host.stats().networks[0].accepted, 8);
}

fn a_link_without_descriptors_waits(w: &World) {
    let sim = w.the_sim();
    let listener = w.listen("10.0.0.1:80".parse().unwrap());
    let mut host = w.host();
    let link = host
        .client("link", Act::echo())
        .workers(1)
        .reconnect(Reconnect {
            max: Duration::from_secs(1),
            ..Reconnect::default()
        });
    let link = link.connect("10.0.0.1:80").unwrap();
    sim.set_descriptors_max(Some(sim.descriptors()));
    host.start().unwrap();
    sim.run_for(Duration::from_secs(10)).unwrap();
    let stats = host.stats().networks[0].clone();
    assert_eq!(
        (stats.connects, stats.sessions_live),
        (stats.connects_failed, 0)
    );
    assert!(
        (8..40).contains(&stats.connects),
        "{} tries in 10 s",
        stats.connects
    );
    assert!(
        matches!(&link.links()[0], LinkState::Waiting { last_error, .. }
        if last_error.contains("10.0.0.1:80"))
    );
    sim.set_descriptors_max(None);
    assert_eq!(listener.accept().ask(b"you"), b"you");
    drop(listener);
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// `sessions_max` without a session to spare is no want of descriptors: nobody backs off.
fn a_pause_between_two_tries(w: &World, layout: Layout) {
    let (host, net) = serve(w, layout, Act::echo(), |server| server.sessions_max(1));
    let addr = net.local_addr().unwrap();
    let mut inside = w.connect(addr);
    assert_eq!(inside.ask(b"in"), b"in");
    for _ in 0..5 {
        w.connect(addr).read_to_end();
    }
    assert_eq!(inside.ask(b"in"), b"in");
    assert_eq!(host.stats().networks[0].accept_backoffs, 0);
    drop(inside);
    crate::support::finish(host);
}

/// Says to this test binary that it is the child, and what its limit is.
const CHILD: &str = "WHARF_TEST_DESCRIPTORS";
const LIMIT: usize = 40;

/// In a process of its own, so that no other test is short of descriptors. The peers are in this
/// one.
fn a_process_without_descriptors_serves_on(w: &World) {
    if std::env::var_os(CHILD).is_some() {
        return serve_as_told(w);
    }
    if wharf::system::open_files_max().is_none() {
        return skipped("this system has no limit of open files that a process could reach");
    }
    let mut server = Server::start();
    let addr = server.ask("addr").parse().unwrap();
    let mut peers: Vec<Peer> = (0..LIMIT + 10).map(|_| w.connect(addr)).collect();
    for peer in &mut peers {
        peer.write(&frame(b"hello"));
    }
    w.until("as many are in as there is room", || {
        server.number("backoffs") >= 2
    });
    let inside = server.number("opened");
    assert!((10..LIMIT).contains(&inside), "{inside} are in");
    // What costs a descriptor is refused with words that say how to mend it.
    assert!(server.ask("port").contains("ulimit -n"));
    let (harvests, backoffs) = (server.number("harvests"), server.number("backoffs"));
    w.pass(Duration::from_millis(1500));
    let (harvests, backoffs) = (
        server.number("harvests") - harvests,
        server.number("backoffs") - backoffs,
    );
    assert!(
        backoffs < 20 && harvests < 200,
        "{backoffs} tries, {harvests} looks in 1.5 s"
    );

    let is_in = |peer: &mut Peer| {
        peer.look();
        peer.inbox.len() == 7
    };
    w.until("those inside are served", || {
        peers
            .iter_mut()
            .filter_map(|peer| is_in(peer).then_some(()))
            .count()
            >= inside
    });
    let (mut inside, mut waiting): (Vec<Peer>, Vec<Peer>) =
        peers.into_iter().partition(|peer| !peer.inbox.is_empty());
    for peer in &mut inside {
        assert_eq!(peer.recv(), b"hello");
        assert_eq!(peer.ask(b"still"), b"still");
    }
    inside.truncate(3);
    for peer in &mut waiting {
        assert_eq!(peer.recv(), b"hello", "it recovers");
    }
    for peer in &mut inside {
        assert_eq!(peer.ask(b"and on"), b"and on");
    }
    drop((inside, waiting));
    assert_eq!(server.ask("quit"), "stopped");
    server.end();
}

/// The child, as the parent sees it: a line asked, a line answered.
struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// In front of each answer: libtest writes to stdout as well.
const ANSWER: &str = "answer: ";

impl Server {
    fn start() -> Self {
        let test = std::thread::current().name().unwrap().to_owned();
        let script = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args([&test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.stdin, "{what}").unwrap();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "the child ended without an answer to {what}");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    fn number(&mut self, what: &str) -> usize {
        self.ask(what).parse().unwrap()
    }

    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failed test it would wait for the next question.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn serve_as_told(w: &World) {
    let handler = Act::echo();
    let (mut host, net) = serve(w, Layout::Shared(2), handler, |server| server);
    let count = |host: &Host, what: &str| {
        let stats = host.stats();
        let workers = stats.ports[0].workers.iter();
        match what {
            "opened" => stats.networks[0].opened,
            "backoffs" => stats.networks[0].accept_backoffs,
            _ => workers.map(|worker| worker.harvests).sum(),
        }
    };
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.as_str() {
            "addr" => net.local_addr().unwrap().to_string(),
            "port" => {
                let error = w.host().port("more").build().unwrap_err();
                error.to_string()
            }
            "quit" => {
                host.stop().unwrap();
                check_stopped(&host.stats());
                "stopped".to_owned()
            }
            counted => count(&host, counted).to_string(),
        };
        println!("{ANSWER}{answer}");
        if line == "quit" {
            return;
        }
    }
}
