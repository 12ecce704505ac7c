//! Links to names: they follow a peer that moves, bear a name that nobody knows, and ask once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use support::Act;
use wharf::{ErrorKind, Host, LinkState, Network, Reconnect, Target};

type Link = Act<()>;

fn peer_of(network: &Network<Link>) -> Option<SocketAddr> {
    network
        .sessions()
        .first()
        .map(|session| session.peer_addr())
}

/// What is known of the only link that waits.
fn last_error(network: &Network<Link>) -> Option<String> {
    match &network.links()[..] {
        [LinkState::Waiting { last_error, .. }] => Some(last_error.clone()),
        _ => None,
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use wharf::sim::{Faults, Sim, SimListener, SimPeer};

    use super::*;

    const NAME: &str = "chat.internal:9000";

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn names(sim: &Sim, ips: &[u8]) {
        let ips: Vec<_> = ips.iter().map(|last| ip(*last)).collect();
        sim.set_name("chat.internal", &ips);
    }

    fn listen(sim: &Sim, last: u8) -> SimListener {
        sim.listen((ip(last), 9000).into()).unwrap()
    }

    /// Ends the connection, and waits until the link knows.
    fn hang_up(sim: &Sim, link: &Network<Link>, peer: &SimPeer) {
        peer.shutdown_write();
        sim.run_until(|| link.sessions().is_empty()).unwrap();
    }

    fn connected_to(sim: &Sim, link: &Network<Link>, last: u8) {
        let addr = Some((ip(last), 9000).into());
        let found = sim.run_until(|| peer_of(link) == addr);
        found.unwrap_or_else(|stuck| panic!("{stuck}, {:?}", link.links()));
    }

    fn calm(seed: u64) -> Sim {
        Sim::with_faults(seed, Faults::none())
    }

    #[test]
    fn a_link_follows_its_name() {
        let sim = calm(1);
        names(&sim, &[1]);
        let old = listen(&sim, 1);
        let mut host = Host::simulated(&sim);
        let link = host.client("chat", Act::sink()).connect(NAME).unwrap();
        host.start().unwrap();
        connected_to(&sim, &link, 1);
        let stats = || host.stats().networks[0].clone();
        assert_eq!(stats().lookups, 0, "the declaration's answer is fresh");
        let peer = old.accept().unwrap();
        sim.run_for(Duration::from_secs(10)).unwrap();
        let new = listen(&sim, 2);
        names(&sim, &[2]);
        drop(old);
        hang_up(&sim, &link, &peer);
        connected_to(&sim, &link, 2);
        assert!(new.accept().is_some());
        let stats = stats();
        assert_eq!((stats.lookups, stats.lookups_failed), (1, 0));
        assert_eq!(stats.connects_failed, 0, "it did not ask at the old place");
        host.stop().unwrap();
    }

    #[test]
    fn a_name_may_come_late_if_it_is_said() {
        let sim = calm(2);
        let mut host = Host::simulated(&sim);
        let error = host
            .client("strict", Act::sink())
            .connect(NAME)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Address);
        assert!(
            error.to_string().contains("could not be resolved"),
            "{error}"
        );
        let late = host.client("bad", Act::sink()).late_names(true);
        let error = late.connect("chat.internal").unwrap_err();
        assert!(error.to_string().contains("give host:port"), "{error}");
        let late = host.client("chat", Act::sink()).late_names(true);
        let link = late.connect(NAME).unwrap();
        host.start().unwrap();
        sim.run_for(Duration::from_secs(90)).unwrap();
        let error = last_error(&link).unwrap();
        assert!(error.contains(NAME), "{error}");
        let stats = host.stats().networks[0].clone();
        assert_eq!((stats.connects, stats.lookups), (0, stats.lookups_failed));
        assert!(
            (6..20).contains(&stats.lookups),
            "{} in 90 s",
            stats.lookups
        );
        let _listener = listen(&sim, 3);
        names(&sim, &[3]);
        connected_to(&sim, &link, 3);
        host.stop().unwrap();
    }

    #[test]
    fn what_was_known_last_is_tried_while_nobody_answers() {
        let sim = calm(3);
        names(&sim, &[1]);
        let listener = listen(&sim, 1);
        let mut host = Host::simulated(&sim);
        let link = host.client("chat", Act::sink()).connect(NAME).unwrap();
        host.start().unwrap();
        connected_to(&sim, &link, 1);
        let peer = listener.accept().unwrap();
        sim.run_for(Duration::from_secs(10)).unwrap();
        names(&sim, &[]);
        hang_up(&sim, &link, &peer);
        connected_to(&sim, &link, 1);
        assert_eq!(host.stats().networks[0].lookups_failed, 1);
        host.stop().unwrap();
    }

    #[test]
    fn the_address_that_served_is_tried_first() {
        let sim = calm(4);
        names(&sim, &[1, 2]);
        let two = listen(&sim, 2);
        let mut host = Host::simulated(&sim);
        let link = host.client("chat", Act::sink()).connect(NAME).unwrap();
        host.start().unwrap();
        connected_to(&sim, &link, 2);
        let peer = two.accept().unwrap();
        sim.run_for(Duration::from_secs(10)).unwrap();
        let _one = listen(&sim, 1);
        names(&sim, &[3, 1, 2]);
        hang_up(&sim, &link, &peer);
        connected_to(&sim, &link, 2);
        host.stop().unwrap();
    }

    #[test]
    fn many_links_ask_once() {
        let sim = calm(5);
        let mut host = Host::simulated(&sim);
        let links = host.client("chat", Act::sink()).late_names(true).links(50);
        let link = links.connect(NAME).unwrap();
        let _listener = listen(&sim, 1);
        names(&sim, &[1]);
        host.start().unwrap();
        sim.run_until(|| link.sessions().len() == 50).unwrap();
        assert_eq!(host.stats().networks[0].lookups, 1);
        host.stop().unwrap();
    }

    /// The name moves, is unknown for a while, is asked for by three links at once, answers come
    /// late, and the stop comes at any moment.
    #[test]
    fn links_find_whoever_has_the_name() {
        for seed in 0..150 {
            let sim = Sim::new(seed);
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut host = Host::simulated(&sim);
            let client = host.client("chat", Act::sink()).late_names(true).links(3);
            let link = client.connect(["10.0.0.9:9000", NAME]).unwrap();
            host.start().unwrap();
            for _ in 0..chance.u8(1..6) {
                let at = chance.u8(1..4);
                names(&sim, [&[at][..], &[], &[4, at]][chance.usize(0..3)]);
                let listener = listen(&sim, at);
                sim.run_for(Duration::from_millis(chance.u64(1..20_000)))
                    .unwrap();
                let peers: Vec<_> = std::iter::from_fn(|| listener.accept()).collect();
                drop((listener, peers));
            }
            if chance.bool() {
                let _listener = listen(&sim, 5);
                names(&sim, &[5]);
                let there = |link: &Network<Link>| {
                    let peers = link.sessions().to_vec();
                    let peers = peers.iter().filter(|s| s.peer_addr().ip() == ip(5));
                    peers.count() == 3
                };
                let found = sim.run_until(|| there(&link));
                found.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck}"));
                host.stop().unwrap();
            } else {
                host.stop().unwrap();
            }
            assert!(link.links().is_empty(), "seed {seed}");
        }
    }
}

/// On real threads, by the system's own resolver.
#[test]
fn a_name_is_looked_up_beside_the_workers() {
    // Nobody listens there yet.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let pause = Duration::from_millis(50);
    let reconnect = Reconnect {
        first: pause,
        max: pause,
        ..Reconnect::default()
    };
    let mut host = Host::new();
    let client = host
        .client("chat", Act::sink())
        .workers(1)
        .reconnect(reconnect.clone());
    let link = client.connect(("localhost", addr.port())).unwrap();
    let client = host
        .client("nobody", Act::sink())
        .workers(1)
        .reconnect(reconnect);
    let nobody = client.late_names(true);
    let nobody = nobody.connect("no-such-host.invalid:80").unwrap();
    host.start().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(
                Instant::now() < until,
                "{what}: {:?}",
                (link.links(), nobody.links())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let stats = |at: usize| host.stats().networks[at].clone();
    wait("it asks again", &|| stats(0).lookups > 1);
    wait("it says whom nobody knows", &|| {
        last_error(&nobody).is_some_and(|error| error.contains("no-such-host.invalid"))
    });
    assert_eq!(stats(1).connects, 0);
    let listener = TcpListener::bind(addr).unwrap();
    wait("it connects", &|| !link.sessions().is_empty());
    assert_eq!(peer_of(&link), Some(addr));
    drop(listener);
    host.stop().unwrap();
}

/// Those who make addresses of their own.
#[test]
fn addresses_are_what_they_were_given_as() {
    use wharf::Addrs as _;
    let addr: SocketAddr = "[::1]:80".parse().unwrap();
    assert_eq!("[::1]:80".targets(), [Target::Addr(addr)]);
    assert_eq!(("::1", 80).targets(), [Target::Addr(addr)]);
    let name = Target::Name("chat:80".to_owned());
    assert_eq!(("chat", 80).targets(), std::slice::from_ref(&name));
    assert_eq!(
        vec!["chat:80", "[::1]:80"].targets(),
        [name, Target::Addr(addr)]
    );
    let ip: IpAddr = addr.ip();
    assert_eq!([(ip, 80)].targets(), [Target::Addr(addr)]);
}
