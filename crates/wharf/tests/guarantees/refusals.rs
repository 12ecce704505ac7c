//! G10: every refusal says what, where and how to mend it; nothing half-started stays behind.

use std::time::Duration;

use wharf::{Error, ErrorKind, Host, Lane, Network, SendQueueLimits, ServerBuilder};

use crate::support::{Act, KNOWN_BACKENDS, World, check_stopped};

const HERE: &str = "127.0.0.1:0";

/// The error's kind and each of these words.
fn check(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
}

fn refused<T>(result: wharf::Result<T>, kind: ErrorKind, words: &[&str]) {
    match result {
        Ok(_) => panic!("it was not refused, but should be for {words:?}"),
        Err(error) => check(&error, kind, words),
    }
}

pub(crate) fn bad_ports_are_named(w: &World) {
    let mut host = w.host();
    let config = ErrorKind::Config;
    let front = host.port("front").workers(1).build().unwrap();
    refused(
        host.port("front").build(),
        config,
        &["two ports", "\"front\""],
    );
    refused(host.port("").build(), config, &["port", "empty name"]);
    let none = host.port("none").workers(0).build();
    refused(
        none,
        config,
        &["\"none\"", "workers is 0", "must be 1 to 1024"],
    );
    let many = host.port("many").workers(1_000_000).build();
    refused(many, config, &["\"many\"", "1000000", "1024"]);
    let at_once = host.port("once").workers(2).workers_limit(3).concurrency(4);
    refused(
        at_once.build(),
        config,
        &["\"once\"", "concurrency is 4", "more than 3 workers"],
    );
    let own = host.server("game", Act::echo()).workers(0).listen(HERE);
    refused(own, config, &["\"game\"", "workers is 0"]);
    let both = host.server("game", Act::echo()).port(&front).workers(2);
    refused(
        both.listen(HERE),
        config,
        &["\"game\"", ".port(..)", ".workers(..)"],
    );
    let mut stranger = w.host();
    let theirs = stranger.port("theirs").workers(1).build().unwrap();
    let foreign = host.server("game", Act::echo()).port(&theirs).listen(HERE);
    refused(
        foreign,
        config,
        &["\"game\"", "port belongs to another host"],
    );
    // A name is free again after each refusal, and nothing is left of what was refused.
    host.server("game", Act::echo())
        .port(&front)
        .listen(HERE)
        .unwrap();
    host.start().unwrap();
    let stats = host.stats();
    let names: Vec<_> = stats.ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["front"]);
    refused(
        host.port("late").build(),
        ErrorKind::State,
        &["\"late\"", "before .start()"],
    );
    let late = host.server("late", Act::echo()).port(&front).listen(HERE);
    refused(late, ErrorKind::State, &["\"late\"", "before .start()"]);
    refused(host.start(), ErrorKind::State, &["runs already"]);
}

pub(crate) fn bad_lanes_are_named(w: &World) {
    let mut host = w.host();
    let mut wrong = |workers: usize, lanes: &[Lane], words: &[&str]| {
        let declare = |what: &str, words: &[&str], built: wharf::Result<()>| {
            let whose = format!("{what} \"bad\"");
            refused(built, ErrorKind::Config, &[words, &[&whose]].concat());
        };
        let lanes = || lanes.iter().cloned();
        let port = host.port("bad").workers(workers);
        let port = lanes().fold(port, wharf::PortBuilder::lane).build();
        declare("port", words, port.map(drop));
        let pool = host.pool("bad").workers(workers);
        let pool = lanes().fold(pool, wharf::PoolBuilder::lane).build();
        declare("pool", words, pool.map(drop));
    };
    let lane = Lane::new;
    wrong(1, &[lane("a"), lane("")], &["lane 2 has an empty name"]);
    wrong(1, &[lane("a"), lane("a")], &["\"a\" is declared twice"]);
    wrong(
        2,
        &[lane("a").workers_max(0)],
        &["\"a\"", "workers_max is 0"],
    );
    let above = lane("a").workers_max(3);
    wrong(2, &[above], &["workers_max is 3", "above the 2 workers"]);
    let crossed = lane("a").workers_max(1).workers_min(2);
    wrong(2, &[crossed], &["workers_min (2) is above workers_max (1)"]);
    let soon = lane("a").starve_after(Duration::ZERO);
    wrong(1, &[soon], &["\"a\"", "starve_after is 0", "higher"]);
    let none = lane("a").frames_per_turn_max(0);
    wrong(1, &[none], &["\"a\"", "frames_per_turn_max is 0"]);
    let much = [lane("a").workers_min(2), lane("b").workers_min(1)];
    wrong(2, &much, &["promised 3 workers", "it has 2"]);
    let far = [lane("a").workers_min(usize::MAX), lane("b").workers_min(2)];
    wrong(2, &far, &["workers_min", "it has 2"]);
    // What is promised to one leaves the other nothing, ever.
    let all = [lane("a").workers_min(2), lane("b")];
    wrong(2, &all, &["lane \"b\" would never run", "all of its 2"]);
    let many: Vec<_> = (0..65).map(|n| lane(&n.to_string())).collect();
    wrong(1, &many, &["more than 64 lanes"]);

    let nul = host.port("a\0b").workers(1).build();
    refused(nul, ErrorKind::Config, &["\"a\\0b\"", "NUL"]);
    // A network that is refused for its lane has made no port.
    let own = host.server("game", Act::echo()).workers(1).lane("vip");
    let words = ["\"game\"", "no lane \"vip\"", ".lane(..): main"];
    refused(own.listen(HERE), ErrorKind::Config, &words);
    let own = host.server("game", Act::echo()).workers(1).lane("main");
    own.listen(HERE).unwrap();
    let front = host.port("front").workers(1).lane(lane("a"));
    let front = front.lane(lane("b")).build().unwrap();
    let open = host.server("chat", Act::echo()).port(&front).listen(HERE);
    let words = ["\"chat\"", "\"front\"", "several lanes", "a, b"];
    refused(open, ErrorKind::Config, &words);
    let pool = host.pool("pool").workers(1).lane(lane("c")).build();
    let other = host.server("chat", Act::echo()).port(&front);
    let other = other.pool(&pool.unwrap()).lane("a").listen(HERE);
    let words = ["\"chat\"", "pool \"pool\"", "no lane \"a\"", ": c"];
    refused(other, ErrorKind::Config, &words);
    assert_eq!(host.stats().ports.len(), 2);
}

/// Limits of peers that can't be.
pub(crate) fn bad_limits_are_named(w: &World) {
    let mut host = w.host();
    let mut zero =
        |field: &str, set: fn(ServerBuilder<'_, Act<()>>) -> ServerBuilder<'_, Act<()>>| {
            let server = set(host.server("zero", Act::echo()).workers(1));
            refused(server.listen(HERE), ErrorKind::Config, &["\"zero\"", field]);
        };
    zero("a number of connects_per_ip is 0", |server| {
        server.connects_per_ip(wharf::Rate::per_second(0))
    });
    zero("a number of input_rate is 0", |server| {
        server.input_rate(wharf::InputRate {
            bytes: Some(wharf::Rate { per_s: 1, burst: 0 }),
            ..wharf::InputRate::default()
        })
    });
    zero("bytes_max of its memory is 9", |server| {
        server.memory(wharf::MemoryLimit {
            bytes_max: 9,
            when_full: wharf::WhenMemoryFull::Refuse,
        })
    });
}

pub(crate) fn bad_networks_are_named(w: &World) {
    let mut host = w.host();
    let config = ErrorKind::Config;
    refused(host.start(), config, &["no network", ".server(..)"]);
    host.server("game", Act::echo())
        .workers(1)
        .listen("127.0.0.1:7777")
        .unwrap();
    let twice = host.server("game", Act::echo()).listen(HERE);
    refused(twice, config, &["\"game\"", "two networks have this name"]);
    let twice = host.client("game", Act::echo()).connect("127.0.0.1:1");
    refused(twice, config, &["\"game\"", "two networks have this name"]);
    refused(
        host.server("", Act::echo()).listen(HERE),
        config,
        &["empty name"],
    );
    let same = host.server("chat", Act::echo()).listen("127.0.0.1:7777");
    refused(same, config, &["\"chat\"", "127.0.0.1:7777", "\"game\""]);
    let links = host
        .client("chat", Act::echo())
        .links(0)
        .connect("127.0.0.1:1");
    refused(links, config, &["\"chat\"", "links is 0", "at least 1"]);

    let mut zero =
        |field: &str, set: fn(ServerBuilder<'_, Act<()>>) -> ServerBuilder<'_, Act<()>>| {
            // Each with workers of its own: a refused network leaves no port of its name behind.
            let server = set(host.server("zero", Act::echo()).workers(1));
            refused(server.listen(HERE), config, &["\"zero\"", field]);
        };
    zero("sessions_max is 0", |server| server.sessions_max(0));
    zero("sessions_per_ip_max is 0", |server| {
        server.sessions_per_ip_max(0)
    });
    zero("frames_per_turn_max is 0", |server| {
        server.frames_per_turn_max(0)
    });
    zero("mailbox_max is 0", |server| server.mailbox_max(0));
    zero("128", |server| server.ipv6_prefix_bits(129));
    zero("send queue", |server| {
        server.send_queue(SendQueueLimits {
            bytes_max: 0,
            ..SendQueueLimits::default()
        })
    });
    zero("send queue", |server| {
        server.send_queue(SendQueueLimits {
            frames_max: 0,
            ..SendQueueLimits::default()
        })
    });
    zero("(2000 bytes) lies above", |server| {
        server.send_queue(SendQueueLimits {
            bytes_max: 1000,
            high_water_bytes: Some(2000),
            ..SendQueueLimits::default()
        })
    });
    zero("low-water mark (900 bytes)", |server| {
        server.send_queue(SendQueueLimits {
            high_water_bytes: Some(900),
            low_water_bytes: Some(900),
            ..SendQueueLimits::default()
        })
    });
    let fine = host.server("zero", Act::echo()).workers(1).listen(HERE);
    fine.unwrap();
    assert_eq!(
        host.stats().ports.len(),
        2,
        "one a network that was accepted"
    );
}

pub(crate) fn bad_addresses_are_named(w: &World) {
    let mut host = w.host();
    let address = ErrorKind::Address;
    for (wrong, word) in [
        ("127.0.0.1", "\"127.0.0.1\""),
        ("here", "host:port"),
        ("127.0.0.1:99999", "99999"),
        ("[::1:80", "[::1]:7777"),
        ("", "\"\""),
        ("no-such-host.invalid:80", "no-such-host.invalid"),
        ("no-such-host.invalid:80", "could not be resolved"),
        ("no-such-host.invalid", "give host:port"),
    ] {
        let server = host.server("game", Act::echo()).workers(1);
        refused(server.listen(wrong), address, &["\"game\"", word]);
        let client = host.client("link", Act::echo()).workers(1);
        refused(client.connect(wrong), address, &["\"link\"", word]);
    }
    let none = host.server("game", Act::echo()).listen(Vec::<&str>::new());
    refused(none, address, &["\"game\"", "list of addresses is empty"]);
    let one = host
        .server("game", Act::echo())
        .listen(["127.0.0.1:0", "nowhere"]);
    refused(one, address, &["\"game\"", "\"nowhere\""]);
    assert_eq!(host.stats().ports.len(), 0);
}

pub(crate) fn an_unknown_backend_is_named(_: &World) {
    let mut host = Host::new().with_backend("iocpp");
    let words = ["\"iocpp\"", "the program", "auto", KNOWN_BACKENDS[0]];
    refused(host.port("front").build(), ErrorKind::Backend, &words);
    let server = host.server("game", Act::echo()).listen(HERE);
    refused(server, ErrorKind::Backend, &words);
}

/// Whether somebody accepts there.
fn listens(w: &World, net: &Network<Act<()>>, addr: std::net::SocketAddr) -> bool {
    let Ok(mut peer) = w.begin_connect(None, addr) else {
        return false;
    };
    w.until("the connect has ended", || {
        peer.is_connected() || peer.is_refused()
    });
    if !peer.is_connected() {
        return false;
    }
    assert_eq!(peer.ask(b"you?"), b"you?", "{net:?} answers");
    true
}

/// A taken port at the start: nothing runs and nothing listens, and once the port is free the same
/// host starts, and its networks know where they listen.
pub(crate) fn a_taken_port_leaves_nothing_started(w: &World) {
    let before = w.open_now();
    {
        let mut other = w.host();
        let taken = other
            .server("taker", Act::echo())
            .workers(1)
            .listen(HERE)
            .unwrap();
        other.start().unwrap();
        let taken = taken.local_addr().unwrap();

        let mut host = w.host();
        let port = host.port("front").workers(2).build().unwrap();
        let first = host
            .server("first", Act::echo())
            .port(&port)
            .listen([HERE, HERE]);
        let first = first.unwrap();
        let second = host.server("second", Act::echo()).port(&port);
        let second = second
            .listen(["127.0.0.1:0".parse().unwrap(), taken])
            .unwrap();
        let link = host
            .client("link", Act::echo())
            .port(&port)
            .connect("127.0.0.1:1");
        let link = link.unwrap();
        for _ in 0..2 {
            let was_open = w.open_now();
            let error = host.start().unwrap_err();
            let words = ["\"second\"", &taken.to_string(), "another program"];
            check(&error, ErrorKind::Listen, &words);
            assert_eq!(w.open_now(), was_open, "nothing half-started");
            assert_eq!(
                (first.local_addrs(), second.local_addrs()),
                (vec![], vec![])
            );
            assert!(link.links().is_empty());
        }
        other.stop().unwrap();
        drop(other);
        host.start().unwrap();
        assert_eq!(first.local_addrs().len(), 2);
        assert_eq!(second.local_addrs()[1], taken);
        for net in [&first, &second] {
            for addr in net.local_addrs() {
                assert!(listens(w, net, addr), "{addr} of {net:?}");
            }
        }
        w.until("the link tries", || {
            host.stats().network("link").unwrap().connects > 0
        });
        host.stop().unwrap();
        check_stopped(&host.stats());
    }
    assert_eq!(w.open_now(), before);
}

/// Encoders and framings refuse at the sender, and name the reason.
pub(crate) fn what_does_not_fit_is_refused(w: &World) {
    let lines = wharf::Framing::lines().with_frame_bytes_max(8).unwrap();
    let mut host = w.host();
    let net = host.server("lines", Act::echo()).workers(1).framing(lines);
    let net = net.listen(HERE).unwrap();
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    peer.write(b"hi\n");
    assert_eq!(peer.read(3), b"hi\n");
    let session = net.sessions().first().unwrap();
    for wrong in [&b"12345678"[..], b"a\nb", b"a\r"] {
        let error = session.send(wrong).unwrap_err();
        assert_eq!(error, wharf::SendError::Framing);
        assert!(net.sessions().broadcast(wrong).is_err());
        assert!(net.group().send(wrong).is_err());
    }
    assert!(error_says(
        &wharf::SendError::Full,
        "raise send_queue bytes_max"
    ));
    session.send(b"1234567").unwrap();
    assert_eq!(peer.read(8), b"1234567\n");
    drop(peer);
    host.set_drain_deadline(Duration::from_secs(1));
    host.stop().unwrap();
    check_stopped(&host.stats());
}

fn error_says(error: &impl std::fmt::Display, words: &str) -> bool {
    error.to_string().contains(words)
}
