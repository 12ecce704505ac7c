//! Hosts from topologies: every sample runs, and a handler without its network, or a network
//! without its handler, is refused by name before anything starts.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wharf::topology::{ListenPlan, Role, ServedBy};
use wharf::{
    Error, ErrorKind, Frame, Handler, Host, LinkState, Network, Refuse, Session, Topology,
    TopologyHost,
};

/// Sends each frame back, behind the name of its thread.
struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("").as_bytes();
        Ok(s.send(&[name, b": ", f.payload()].concat())?)
    }
}

/// A handler that is not [`Echo`].
struct Link;

impl Handler for Link {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, _: &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Ok(())
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../topologies")
        .join(name)
}

/// The sample with its server on a free port of loopback and its clients at these addresses.
fn on_loopback(name: &str, chat: SocketAddr, master: SocketAddr) -> Topology {
    let mut topology = Topology::from_file(sample(name)).unwrap();
    for network in &mut topology.networks {
        let peer = if network.name == "chat" { chat } else { master };
        match &mut network.role {
            Role::Listen(server) => server.addrs = vec!["127.0.0.1:0".to_owned()],
            Role::Connect(client) => client.addrs = vec![peer.to_string()],
        }
    }
    topology
}

/// One frame of the samples' framing there and back.
fn echoed(addr: SocketAddr, payload: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let length = u16::try_from(payload.len() + 2).unwrap().to_le_bytes();
    stream
        .write_all(&[&length[..], payload.as_bytes()].concat())
        .unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_le_bytes(length)) - 2];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn connected(link: &Network<Link>) -> bool {
    matches!(link.links()[..], [LinkState::Connected(_)])
}

#[test]
fn every_sample_serves_as_it_says() {
    let mut peers = Host::new();
    let port = peers.port("peers").workers(1).build().unwrap();
    let peer = ["chat-server", "master-server"].map(|name| {
        let peer = peers.server(name, Link).port(&port);
        peer.listen("127.0.0.1:0").unwrap()
    });
    peers.start().unwrap();
    let [chat_addr, master_addr] = peer.map(|peer| peer.local_addr().unwrap());
    for (name, served_by) in [
        ("port_per_network.toml", "game"),
        ("shared.toml", "main"),
        ("selective.toml", "players"),
        ("dispatch.toml", "high"),
        ("lanes.toml", "front"),
        ("dedicated.toml", "game"),
    ] {
        let mut topology = Host::new()
            .with_topology(on_loopback(name, chat_addr, master_addr))
            .unwrap();
        let game = topology.declare_server("game", Echo).unwrap();
        let chat = topology.declare_client("chat", Link).unwrap();
        let master = topology.declare_client("master", Link).unwrap();
        let mut host = topology.finish().unwrap();
        host.start().unwrap();

        let answer = echoed(game.local_addr().unwrap(), "hello");
        let (thread, words) = answer.split_once(": ").unwrap();
        assert!(thread.contains(served_by), "{name}: served by {thread}");
        assert_eq!(words, "hello", "{name}");
        let until = Instant::now() + Duration::from_secs(10);
        while !(connected(&chat) && connected(&master)) {
            assert!(Instant::now() < until, "{name}: the links do not connect");
            std::thread::yield_now();
        }
        host.stop().unwrap();
    }
    peers.stop().unwrap();
}

#[test]
fn a_topology_host_knows_its_ports_and_pools() {
    let topology = Topology::from_file(sample("dispatch.toml")).unwrap();
    let host = Host::new().with_topology(topology).unwrap();
    assert_eq!(host.port("front").map(|port| port.workers()), Some(1));
    assert_eq!(host.pool("high").map(|pool| pool.workers()), Some(3));
    assert!(host.port("high").is_none() && host.pool("front").is_none());
    let text = "[port.front]\nworkers = \"cores\"\nlanes = [ { name = \"high\" }, \
                { name = \"low\", workers_max = 900 } ]\n\
                [network.game]\nlisten = \"127.0.0.1:0\"\nlane = \"low\"\n";
    let topology = Topology::parse(text, "t").unwrap();
    let host = Host::new().with_topology(topology).unwrap();
    let lanes: Vec<_> = host.port("front").unwrap().lanes().collect();
    assert_eq!(
        lanes,
        ["high", "low"],
        "a cap for a larger machine is none on this one"
    );
}

fn lanes() -> TopologyHost {
    let nobody = "127.0.0.1:9".parse().unwrap();
    Host::new()
        .with_topology(on_loopback("lanes.toml", nobody, nobody))
        .unwrap()
}

fn refused(result: Result<impl Sized, Error>, says: &str) {
    let Err(error) = result else {
        panic!("it should say: {says}");
    };
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(error.to_string(), says);
}

#[test]
fn networks_without_a_handler_are_named() {
    refused(
        lanes().server("game", Echo).client("chat", Link).finish(),
        "the topology: a network of it has no handler; add .client(\"master\", ..), or take it out \
         of the file",
    );
    refused(
        lanes().client("chat", Link).run_until_signal(),
        "the topology: networks of it have no handler; add .server(\"game\", ..) and \
         .client(\"master\", ..), or take it out of the file",
    );
}

#[test]
fn handlers_without_a_network_are_named() {
    let all = || lanes().server("game", Echo).client("chat", Link);
    refused(
        all().client("mastr", Link).finish(),
        "the topology: there is a handler for network \"mastr\", and no such network; did you mean \
         \"master\"?",
    );
    refused(
        all().client("master", Link).server("web", Echo).finish(),
        "the topology: there is a handler for network \"web\", and no such network; there is \
         \"game\", \"chat\" and \"master\"",
    );
}

#[test]
fn a_handler_of_the_other_role_and_a_second_one_are_named() {
    refused(
        lanes().server("chat", Echo).finish(),
        "the topology: network \"chat\" connects: give it its handler with .client(\"chat\", ..)",
    );
    refused(
        lanes().client("game", Link).finish(),
        "the topology: network \"game\" listens: give it its handler with .server(\"game\", ..)",
    );
    let mut topology = lanes();
    assert!(topology.declare_server("game", Echo).is_ok());
    refused(
        topology.declare_server("game", Echo),
        "the topology: network \"game\" is given two handlers",
    );
}

#[test]
fn a_wrong_file_is_told_with_its_name() {
    let error = Host::from_file("no/such/file.toml").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().starts_with("no/such/file.toml: "),
        "{error}"
    );
    let path = sample("lanes.toml");
    let error = Host::from_file(&path)
        .unwrap()
        .server("gmae", Echo)
        .finish()
        .unwrap_err();
    let says = format!(
        "{}: there is a handler for network \"gmae\"",
        path.display()
    );
    assert!(error.to_string().starts_with(&says), "{error}");
}

/// A topology that a tool has made wrong is refused when it is used.
#[test]
fn a_topology_made_by_hand_is_checked_too() {
    let right = || Topology::from_file(sample("lanes.toml")).unwrap();
    let mut wrong = right();
    wrong.ports[0].threads.lanes[1].workers_max = Some(0);
    let error = Host::new().with_topology(wrong).unwrap_err();
    assert!(error.to_string().contains("workers_max is 0"), "{error}");
    let mut wrong = right();
    wrong.networks[0].lane = "vip".to_owned();
    let error = Host::new()
        .with_topology(wrong)
        .unwrap()
        .server("game", Echo)
        .finish();
    assert!(error.unwrap_err().to_string().contains("no lane \"vip\""));
    let mut wrong = right();
    wrong.networks[0].port = "back".to_owned();
    let error = Host::new()
        .with_topology(wrong)
        .unwrap()
        .server("game", Echo)
        .finish();
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("unknown port \"back\"")
    );
}

#[test]
fn a_server_without_an_address_or_that_inherits_nothing_is_named() {
    let inherits = vec!["inherit:game".to_owned()];
    for (addrs, says) in [
        (Vec::new(), "list of addresses is empty"),
        (inherits, "\"game\" can't inherit a listener"),
    ] {
        let mut wrong = Topology::from_file(sample("lanes.toml")).unwrap();
        wrong.networks[0].role = Role::Listen(ListenPlan::new(addrs));
        let planned = Host::new().with_topology(wrong).unwrap();
        let error = planned.server("game", Echo).finish().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Asks for a lane as it opens, and answers with the lane that it is in.
struct Vip;

impl Handler for Vip {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), _: Frame<'_>) -> wharf::Result<()> {
        s.set_lane("vip")?;
        Ok(s.send(s.lane().as_bytes())?)
    }
}

/// One program, which names a lane, and makes strands: where all of it runs is the file's affair.
#[test]
fn a_layout_without_a_lane_of_its_own_gives_its_name_to_another() {
    let game = "[network.game]\nlisten = \"127.0.0.1:0\"\n";
    for (layout, lane, zones) in [
        (
            "[port.front]\nlanes = [ { name = \"vip\" }, { name = \"players\" }, \
             { name = \"world\" } ]\n[work.zones]\nlane = \"world\"\n",
            "vip",
            ("front", "world"),
        ),
        (
            "[port.front]\nlanes = [ { name = \"all\", also = [\"players\", \"vip\"] } ]\n\
             [work.zones]\n",
            "all",
            ("front", "all"),
        ),
        (
            "[port.front]\nworkers = 1\n[pool.high]\nworkers = 2\n\
             lanes = [ { name = \"players\", also = [\"vip\"] } ]\n[pool.world]\nworkers = 1\n\
             [work.zones]\npool = \"world\"\n",
            "players",
            ("world", "main"),
        ),
    ] {
        let pool = if layout.contains("pool.high") {
            "pool = \"high\"\n"
        } else {
            ""
        };
        let text = format!("{layout}{game}lane = \"players\"\n{pool}");
        let topology = Topology::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"));
        let mut planned = Host::new().with_topology(topology).unwrap();
        let work = planned.work("zones").unwrap();
        assert_eq!((work.served_by(), work.lane()), zones);
        let (told, thread) = std::sync::mpsc::sync_channel(1);
        work.strand(told)
            .post(|told| drop(told.send(std::thread::current().name().map(str::to_owned))))
            .unwrap();
        let game = planned.declare_server("game", Vip).unwrap();
        let mut host = planned.finish().unwrap();
        host.start().unwrap();
        assert_eq!(echoed(game.local_addr().unwrap(), "hello"), lane);
        let thread = thread.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(thread.unwrap().contains(zones.0), "{text}");
        host.stop().unwrap();
    }
}

#[test]
fn work_that_does_not_fit_the_program_is_named() {
    let planned = |work: &str| {
        let text = format!("[port.front]\n[network.game]\nlisten = \"127.0.0.1:0\"\n{work}");
        let topology = Topology::parse(text, "t").unwrap();
        Host::new().with_topology(topology).unwrap()
    };
    refused(
        planned("[work.zones]\n").server("game", Echo).finish(),
        "the topology: work \"zones\" is in it, and the program does not ask for it; call \
         .work(\"zones\"), or take it out of the file",
    );
    refused(
        planned("").work("zones"),
        "the topology: there is no work \"zones\"; add [work.zones] with the port or pool that is \
         to run it",
    );
    refused(
        planned("[work.zones]\n").work("zone"),
        "the topology: there is no work \"zone\"; did you mean \"zones\"?",
    );
    let mut wrong = Topology::parse(
        "[port.front]\n[network.game]\nlisten = \"127.0.0.1:0\"\n[work.zones]\n",
        "t",
    )
    .unwrap();
    wrong.work[0].on = ServedBy::Pool("high".to_owned());
    refused(
        Host::new().with_topology(wrong).unwrap().work("zones"),
        "the topology: work \"zones\": unknown pool high",
    );
}

#[test]
fn what_a_network_is_told_reaches_it() {
    let text = "[port.front]\nworkers = 1\n[network.game]\nlisten = \"127.0.0.1:0\"\n\
                flush = \"tick\"\nsessions_max = 1\nframing = { kind = \"lines\" }\n";
    let topology = Topology::parse(text, "t").unwrap();
    let mut planned = Host::new().with_topology(topology).unwrap();
    let game = planned.declare_server("game", Echo).unwrap();
    let mut host = planned.finish().unwrap();
    host.start().unwrap();
    let addr = game.local_addr().unwrap();
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.write_all(b"hello\n").unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let held = || game.sessions().first().map(|s| s.send_queue().frames);
    while held() != Some(1) {
        assert!(Instant::now() < until, "the answer is not held");
        std::thread::yield_now();
    }
    assert_eq!(game.flush(), 1);
    let mut answer = [0; 64];
    let len = peer.read(&mut answer).unwrap();
    let answer = &answer[..len];
    assert!(answer.ends_with(b": hello\n"), "{}", answer.escape_ascii());
    // The second session is one too many.
    let mut second = TcpStream::connect(addr).unwrap();
    second
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert!(matches!(second.read(&mut [0; 1]), Ok(0) | Err(_)));
    let refused = host.stats().networks[0].refused_sessions_max;
    assert_eq!(refused, 1);
    drop(peer);
    host.stop().unwrap();
}
