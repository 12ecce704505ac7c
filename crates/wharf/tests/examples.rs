//! The examples do what they say, as processes of their own, and end well when asked to.
#![allow(clippy::unwrap_used, reason = "a test: what can't be done fails it")]

mod example_process;

#[path = "../examples/resp/parser.rs"]
mod parser;
#[path = "../examples/resp/parser_tests.rs"]
mod parser_tests;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use example_process::{Example, PATIENCE, Peer, run};

/// A frame of the usual framing: a little-endian u16 that counts itself.
fn usual(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len() + 2).unwrap();
    [&len.to_le_bytes(), text.as_bytes()].concat()
}

fn read_usual(stream: &mut impl Read) -> String {
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut text = vec![0; usize::from(u16::from_le_bytes(len)) - 2];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn echo_echoes_and_says_goodbye() {
    let mut echo = Example::start("echo", &[], &[]);
    let mut peer = echo.connect();
    peer.send(usual("hello"));
    peer.expect(usual("hello"));
    if !echo.terminate() {
        return;
    }
    assert_eq!(peer.rest(), b"", "an end of stream, no reset");
    drop(peer);
    echo.ended();
}

#[test]
fn an_address_that_is_none_is_told_as_text() {
    for (name, addr, told) in [
        ("echo", "nonsense", "give host:port"),
        ("resp", "192.0.2.1:6380", "this machine has no such address"),
    ] {
        let output = run(Command::new(example_process::path(name)).arg(addr));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(text.contains(addr) && text.contains(told), "{text}");
        assert!(!text.contains("Inner"), "{text}");
    }
}

#[test]
fn resp_serves_commands_however_they_come() {
    let resp = Example::start("resp", &[], &[]);
    let mut peer = resp.connect();
    for (command, reply) in [
        ("PING\r\n", "+PONG\r\n"),
        ("*1\r\n$4\r\nping\r\n", "+PONG\r\n"),
        (
            "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
            "$4\r\n\r\n\r\n\r\n",
        ),
        ("set key \"some value\"\n", "+OK\r\n"),
        ("GET key\r\n", "$10\r\nsome value\r\n"),
        ("\r\nGET none\r\n", "$-1\r\n"),
        ("MSET a 1 b 2\r\n", "+OK\r\n"),
        ("MGET a none b\r\n", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
        (
            "INCR a\r\nINCR a\r\nDECR b\r\nDECR new\r\n",
            ":2\r\n:3\r\n:1\r\n:-1\r\n",
        ),
        (
            "EXISTS a a none\r\nDEL a none\r\nEXISTS a\r\n",
            ":2\r\n:1\r\n:0\r\n",
        ),
        (
            "SET a 1 NX\r\nSET a 2 NX\r\nSET a 3 XX\r\nGET a\r\n",
            "+OK\r\n$-1\r\n+OK\r\n$1\r\n3\r\n",
        ),
        (
            "SET a 1 PX 1\r\nSET a 1 EX 0\r\n",
            "+OK\r\n-ERR invalid expire time in 'set' command\r\n",
        ),
        ("SET a 1 NX XX\r\n", "-ERR syntax error\r\n"),
        (
            "INCR key\r\n",
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            "GET\r\n",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        (
            "NO SUCH\r\n",
            "-ERR unknown command 'NO', with args beginning with: 'SUCH' \r\n",
        ),
        ("CONFIG GET save\r\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("HELLO 3\r\n", "-NOPROTO unsupported protocol version\r\n"),
        (
            "SELECT 0\r\nSELECT 1\r\n",
            "+OK\r\n-ERR DB index is out of range\r\n",
        ),
        ("FLUSHALL\r\nDBSIZE\r\n", "+OK\r\n:0\r\n"),
    ] {
        peer.send(command);
        peer.expect(reply);
    }
    peer.send("QUIT\r\nPING\r\n");
    assert_eq!(peer.rest(), b"+OK\r\n", "nothing is served after QUIT");
    drop(peer);
    resp.stop();
}

#[test]
fn resp_takes_slow_and_large_commands() {
    let resp = Example::start("resp", &[], &[]);
    let mut peer = resp.connect();
    for byte in b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$6\r\na\r\nb\r\n\r\n" {
        peer.send([*byte]);
    }
    peer.expect("+OK\r\n");
    // Larger than any buffer on the way.
    let value = "0123456789".repeat(90_000);
    peer.send(format!(
        "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$900000\r\n{value}\r\n"
    ));
    peer.expect("+OK\r\n");
    peer.send("MGET big big\r\n");
    let reply = format!("$900000\r\n{value}\r\n");
    peer.expect("*2\r\n");
    assert!(peer.read(2 * reply.len()) == reply.repeat(2).as_bytes());
    drop(peer);
    resp.stop();
}

#[test]
fn resp_expires_keys() {
    let resp = Example::start("resp", &[], &[]);
    let mut peer = resp.connect();
    peer.send("SET a 1 PX 30\r\nSET b 1 EX 1000\r\n");
    peer.expect("+OK\r\n+OK\r\n");
    std::thread::sleep(std::time::Duration::from_millis(60));
    peer.send("EXISTS a\r\nSET a 2 XX\r\nINCR a\r\nEXISTS b\r\n");
    peer.expect(":0\r\n$-1\r\n:1\r\n:1\r\n");
    drop(peer);
    resp.stop();
}

#[test]
fn resp_names_bad_input_and_closes() {
    let resp = Example::start("resp", &[], &[]);
    for (bad, complaint) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*1025\r\n", "invalid multibulk length"),
        ("*1\r\n:4\r\n", "expected '$', got ':'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$1048576\r\n", "invalid bulk length"),
        ("*1\r\n$1\r\nxyz\n", "expected CRLF after bulk"),
        ("GET \"a\r\n", "unbalanced quotes in request"),
    ] {
        let mut peer = resp.connect();
        peer.send(format!("PING\r\n{bad}PING\r\n"));
        let expected = format!("+PONG\r\n-ERR Protocol error: {complaint}\r\n");
        assert_eq!(String::from_utf8_lossy(&peer.rest()), expected);
    }
    let mut peer = resp.connect();
    peer.send("x".repeat(64 * 1024));
    assert_eq!(
        peer.rest(),
        b"-ERR Protocol error: too big inline request\r\n"
    );
    drop(peer);
    resp.stop();
}

/// A packet of RCON: id, type and body.
type Packet = (i32, i32, String);

fn send_rcon(peer: &mut Peer, id: i32, kind: i32, body: &str) {
    let size = i32::try_from(body.len() + 10).unwrap();
    let mut packet: Vec<u8> = [size, id, kind]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    packet.extend_from_slice(body.as_bytes());
    packet.extend_from_slice(b"\0\0");
    peer.send(packet);
}

fn read_rcon(peer: &mut Peer) -> Packet {
    let mut number = || i32::from_le_bytes(peer.read(4).try_into().unwrap());
    let (size, id, kind) = (number(), number(), number());
    let mut body = peer.read(usize::try_from(size).unwrap() - 8);
    assert_eq!(body.split_off(body.len() - 2), b"\0\0");
    (id, kind, String::from_utf8(body).unwrap())
}

fn expect_rcon(peer: &mut Peer, id: i32, kind: i32, body: &str) {
    assert_eq!(read_rcon(peer), (id, kind, body.to_owned()));
}

#[test]
fn rcon_logs_in_and_splits_long_output() {
    let rcon = Example::start("rcon", &[], &[("RCON_PASSWORD", "secret")]);
    let mut peer = rcon.connect();
    send_rcon(&mut peer, 1, 2, "status");
    expect_rcon(&mut peer, -1, 2, "");
    send_rcon(&mut peer, 2, 3, "secre");
    expect_rcon(&mut peer, 2, 0, "");
    expect_rcon(&mut peer, -1, 2, "");
    send_rcon(&mut peer, 3, 3, "secret");
    expect_rcon(&mut peer, 3, 0, "");
    expect_rcon(&mut peer, 3, 2, "");
    send_rcon(&mut peer, 4, 2, "echo two words");
    expect_rcon(&mut peer, 4, 0, "two words");
    send_rcon(&mut peer, 5, 2, "status");
    assert!(read_rcon(&mut peer).2.starts_with("sessions: 1\n"));
    send_rcon(&mut peer, 6, 2, "dance");
    expect_rcon(&mut peer, 6, 0, "unknown command \"dance\"; try help");

    // The empty packet behind a command comes back behind all of its output.
    send_rcon(&mut peer, 7, 2, "long 10000");
    send_rcon(&mut peer, 8, 0, "");
    let bodies: Vec<_> = std::iter::from_fn(|| Some(read_rcon(&mut peer)))
        .take_while(|packet| packet.0 == 7)
        .map(|packet| packet.2)
        .collect();
    assert_eq!(
        bodies.iter().map(String::len).collect::<Vec<_>>(),
        [4096, 4096, 1808]
    );
    assert_eq!(bodies.concat(), "0123456789".repeat(1000));
    expect_rcon(&mut peer, 8, 0, "\0\u{1}\0\0");

    // A whole packet of output is not followed by an empty one.
    send_rcon(&mut peer, 9, 2, "long 4096");
    send_rcon(&mut peer, 10, 2, "");
    assert_eq!(read_rcon(&mut peer).2.len(), 4096);
    expect_rcon(&mut peer, 10, 0, "");
    drop(peer);
    rcon.stop();
}

#[test]
fn rcon_closes_after_three_wrong_passwords() {
    let rcon = Example::start("rcon", &[], &[("RCON_PASSWORD", "secret")]);
    let mut peer = rcon.connect();
    for id in 1..=4 {
        send_rcon(&mut peer, id, 3, "guess");
    }
    for id in 1..=3 {
        expect_rcon(&mut peer, id, 0, "");
        expect_rcon(&mut peer, -1, 2, "");
    }
    assert_eq!(peer.rest(), b"");
    drop(peer);
    rcon.stop();
}

#[test]
fn chat_room_carries_lines_between_peers() {
    let chat = Example::start("chat_room", &[], &[]);
    let mut ann = chat.connect();
    let guest = |peer: &mut Peer| {
        let welcome = peer.line();
        let name = welcome
            .strip_prefix("* welcome, ")
            .and_then(|rest| rest.split(':').next());
        name.unwrap_or_else(|| panic!("{welcome}")).to_owned()
    };
    guest(&mut ann);
    // Only now: of two that connect at once, either may be the older session.
    let mut bob = chat.connect();
    ann.send("/nick ann\n");
    while !ann.line().ends_with("is now ann") {}
    let bob_was = guest(&mut bob);
    bob.send("/nick ann\n");
    while bob.line() != "* ann is taken" {}
    bob.send("/nick bob\r\nhello\u{1b}[2J\n");
    for peer in [&mut ann, &mut bob] {
        while peer.line() != format!("* {bob_was} is now bob") {}
        assert_eq!(peer.line(), "bob: hello [2J", "terminals are safe from it");
    }
    ann.send("/who\n/me waves\n");
    assert_eq!(ann.line(), "* in lobby: ann, bob");
    for peer in [&mut ann, &mut bob] {
        assert_eq!(peer.line(), "* ann waves");
    }
    bob.send("/join attic\nanybody?\n/who\n/nosuch\n/quit\n");
    assert_eq!(ann.line(), "* bob went to attic");
    let alone = bob.rest();
    let expected = "* bob is here\nbob: anybody?\n* in attic: bob\n\
                    * commands: /nick NAME, /join ROOM, /who, /me TEXT, /quit\n* bye\n";
    assert_eq!(String::from_utf8_lossy(&alone), expected);
    drop(bob);
    ann.send("still here\n");
    assert_eq!(ann.line(), "ann: still here", "the attic was not heard");
    drop(ann);
    chat.stop();
}

/// Logs in once the links are up.
fn log_in(game: &Example, name: &str) -> Peer {
    let mut peer = game.connect();
    loop {
        peer.send(usual(&format!("login {name}")));
        match read_usual(&mut peer.0).as_str() {
            text if text == format!("welcome {name}") => return peer,
            text => assert_eq!(text, "error: the master server is away, try again"),
        }
    }
}

#[test]
fn game_server_runs_alone() {
    let mut game = Example::start("game_server", &[], &[]);
    let (mut ann, mut bob) = (log_in(&game, "ann"), log_in(&game, "bob"));
    let mut nobody = game.connect();
    nobody.send(usual("say hello"));
    assert!(read_usual(&mut nobody.0).starts_with("error: login NAME"));
    drop(nobody);
    ann.send(usual("move 3 4"));
    for peer in [&mut ann, &mut bob] {
        assert_eq!(read_usual(&mut peer.0), "ann is at 3 4");
    }
    loop {
        bob.send(usual("say hello"));
        match read_usual(&mut bob.0).as_str() {
            "bob: hello" => break,
            text => assert_eq!(text, "error: the chat server is away, try again"),
        }
    }
    assert_eq!(read_usual(&mut ann.0), "bob: hello");
    if !game.terminate() {
        return;
    }
    for peer in [&mut ann, &mut bob] {
        assert_eq!(peer.rest(), b"");
    }
    drop((ann, bob));
    game.ended();
}

#[test]
fn game_server_uses_the_servers_it_is_given() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [chat, master] = listeners
        .each_ref()
        .map(|l| l.local_addr().unwrap().to_string());
    let game = Example::start("game_server", &[&chat, &master], &[]);
    let accept = |listener: &TcpListener| -> TcpStream {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let [chat, master] = listeners.each_ref().map(accept);
    let (mut chat, mut master) = (Peer(chat), Peer(master));
    let mut ann = game.connect();
    // The link may need a moment from our accept to its open.
    let asked = loop {
        ann.send(usual("login ann"));
        master.0.set_nonblocking(true).unwrap();
        let come = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            master.0.peek(&mut [0]).is_ok()
        });
        master.0.set_nonblocking(false).unwrap();
        if come {
            break read_usual(&mut master.0);
        }
    };
    let (id, name) = asked.split_once(' ').unwrap();
    assert_eq!(name, "ann");
    // The master may know better, and only the asking session hears of it.
    master.send(usual("999999 eve"));
    master.send(usual(&format!("{id} queen ann")));
    while read_usual(&mut ann.0) != "welcome queen ann" {}
    ann.send(usual("say hello"));
    assert_eq!(read_usual(&mut chat.0), "queen ann: hello");
    chat.send(usual("from elsewhere: hi"));
    assert_eq!(read_usual(&mut ann.0), "from elsewhere: hi");
    drop((ann, chat, master));
    game.stop();
}

#[test]
fn tokio_bridge_answers_in_order() {
    let bridge = Example::start("tokio_bridge", &[], &[]);
    let mut peers = [(); 3].map(|()| bridge.connect());
    // The first keys take the longest: without the pause the replies would overtake each other.
    let keys: Vec<u64> = (0..21).rev().collect();
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    for peer in &mut peers {
        peer.send(format!("{lines}many\n"));
    }
    for peer in &mut peers {
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(
                peer.line(),
                format!("{}: {key} squared is {}", n + 1, key * key)
            );
        }
        assert_eq!(peer.line(), "22: many is no small number");
    }
    drop(peers);
    bridge.stop();
}

/// The payload of the next frame.
fn next_payload(peer: &mut Peer) -> Vec<u8> {
    let len = u16::from_le_bytes(peer.read(2).try_into().unwrap());
    peer.read(usize::from(len) - 2)
}

#[test]
fn zones_tick_and_their_players_move_between_them() {
    let mut zones = Example::start("zones", &[], &[]);
    let (mut one, mut two) = (zones.connect(), zones.connect());
    let both_in_zone = |peer: &mut Peer, expected: u8| {
        for _ in 0..1000 {
            peer.send(b"\x03\0?");
            let told = next_payload(peer);
            assert_eq!((told.len(), told[0]), (2, b'n'));
            if told[1] == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("never {expected} players");
    };
    both_in_zone(&mut one, 2);
    two.send(b"\x04\0z\x03");
    both_in_zone(&mut two, 1);
    both_in_zone(&mut one, 1);
    // Backwards by three a tick.
    two.send(b"\x04\0w\xfd");
    let mut last = 0;
    for _ in 0..5 {
        let told = next_payload(&mut two);
        assert_eq!((told.len(), told[0]), (5, b'm'));
        let place = i32::from_le_bytes(told[1..].try_into().unwrap());
        assert!(place < last && place % 3 == 0, "from {last} to {place}");
        last = place;
    }
    drop(two);
    one.send(b"\x04\0z\x03");
    both_in_zone(&mut one, 1);
    if !zones.terminate() {
        return;
    }
    assert_eq!(one.rest(), b"");
    drop(one);
    zones.ended();
}

#[test]
fn login_asks_before_it_plays() {
    let login = Example::start("login", &[], &[]);
    let mut first = login.connect();
    loop {
        first.send("first\n");
        match &*first.line() {
            "welcome first" => break,
            // The link is still connecting.
            told => assert_eq!(told, "the auth server is away, try again"),
        }
    }
    drop(first);
    let mut ann = login.connect();
    ann.send("ann\none\ntwo\n");
    assert_eq!(ann.line(), "welcome ann");
    assert_eq!(
        (ann.line(), ann.line()),
        ("ann: one".into(), "ann: two".into())
    );
    let mut late = login.connect();
    late.send("nobody\nlate\nthree\n");
    assert_eq!(late.line(), "no answer came in time, try again");
    assert_eq!(
        (late.line(), late.line()),
        ("welcome late".into(), "late: three".into())
    );
    assert_eq!(ann.line(), "late: three");
    let mut mallory = login.connect();
    mallory.send("mallory\nlet me in\n");
    assert_eq!(mallory.line(), "denied");
    assert_eq!(mallory.rest(), b"");
    drop((ann, late, mallory));
    login.stop();
}
