//! Topology files in the program: `check`, `demo --topology`, `serve --topology`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

const SAMPLES: [&str; 6] = [
    "port_per_network",
    "shared",
    "selective",
    "dispatch",
    "lanes",
    "dedicated",
];

fn wharf(words: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wharf"));
    program.args(words).output().unwrap()
}

fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies");
    let file = folder.join(name).with_extension("toml");
    file.to_str().unwrap().to_owned()
}

/// A file of this test with this text.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn refused(words: &[&str], says: &str) {
    let output = wharf(words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert!(said.contains(says), "{words:?}: no \"{says}\" in: {said}");
    assert!(output.stdout.is_empty(), "{words:?}");
}

#[test]
fn check_shows_every_sample_as_table_and_json() {
    for name in SAMPLES {
        let path = sample(name);
        let output = wharf(&["check", &path, "--cores", "8"]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        for part in ["3 networks", "game", "chat", "master", "on 8 cores"] {
            assert!(said.contains(part), "{name}: no \"{part}\" in\n{said}");
        }
        let output = wharf(&["check", &path, "--json", "--cores", "8"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&found["right"], &found["cores"]),
            (&true.into(), &8.into())
        );
        let networks = found["networks"].as_array().unwrap();
        assert_eq!(networks.len(), 3, "{name}: {found}");
        let workers = |kind: &str| {
            let rows = found[kind].as_array().unwrap().iter();
            rows.map(|row| row["workers"].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(
            workers("ports") + workers("pools"),
            found["threads"],
            "{name}"
        );
    }
    let found = wharf(&["check", &sample("lanes"), "--json"]).stdout;
    let found: Value = serde_json::from_slice(&found).unwrap();
    let game = &found["networks"][0];
    assert_eq!(game["memory_bytes_max"], 20_000u64 * (262_144 + 16_384));
    assert_eq!(found["ports"][0]["lanes"][1]["workers_most"], 1);
}

#[test]
fn check_tells_all_that_is_wrong_with_its_place_and_exits_2() {
    let wrong = "[port.front]\nworkers = 0\n[network.game]\nlissten = \"a:1\"\n";
    let path = file("check_wrong.toml", wrong);
    let output = wharf(&["check", &path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            format!("{path}:2:11: port \"front\": workers is 0; it must be at least 1"),
            format!(
                "{path}:4:1: network \"game\": unknown key \"lissten\"; did you mean \"listen\"?"
            ),
            "2 errors".to_owned(),
        ]
    );
    let output = wharf(&["check", &path, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["right"], false);
    let first = &found["errors"][0];
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &11.into()));
    refused(
        &["check", "no_such_file.toml"],
        "no_such_file.toml: the topology file can't be read",
    );
    refused(&["check", &sample("lanes"), "--cores", "0"], "--cores");
}

#[test]
fn the_demo_plays_under_every_sample() {
    for name in SAMPLES {
        let path = sample(name);
        let output = wharf(&["demo", "--topology", &path, "-t", "1", "-b", "10", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {report:#}");
        assert_eq!(report["bots_connected"], 10, "{name}");
        let networks = report["networks"].as_array().unwrap();
        let game = networks.iter().find(|row| row["name"] == "game").unwrap();
        assert!(game["answers"].as_u64().unwrap() > 0, "{name}: {game}");
        let (pool, lane) = (&game["pool"], &game["lane"]);
        let right = match name {
            "dispatch" => *pool == "high" && report["pools"].as_array().unwrap().len() == 2,
            "lanes" => *lane == "players" && pool.is_null(),
            _ => *lane == "main" && pool.is_null(),
        };
        assert!(right, "{name}: {game}");
    }
}

#[test]
fn the_demo_refuses_files_it_can_not_play() {
    let links = "[network.chat]\nconnect = \"a:1\"\n[network.master]\nconnect = \"a:2\"\n";
    let game = "[port.main]\n[network.game]\nlisten = \"a:1\"\n";
    for (name, text, says) in [
        (
            "demo_none.toml",
            game.to_owned(),
            "the demo needs a network \"chat\" that connects",
        ),
        (
            "demo_role.toml",
            format!("[port.main]\n[network.game]\nconnect = \"a:1\"\n{links}"),
            "in the demo the network \"game\" listens",
        ),
        (
            "demo_more.toml",
            format!("{game}{links}[network.web]\nlisten = \"a:3\"\n"),
            "and none for \"web\"",
        ),
        (
            "demo_wrong.toml",
            "[port.main\n".to_owned(),
            "demo_wrong.toml:1:11: ",
        ),
    ] {
        let path = file(name, &text);
        refused(&["demo", "--topology", &path, "--json"], says);
    }
    refused(
        &["demo", "--topology", &sample("lanes"), "--workers", "2"],
        "--workers",
    );
}

/// Dropping it ends the server.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server on a free port and has it echo one frame.
fn serves(words: &[&str]) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wharf"));
    program.args(["serve", "echo", "--listen", "127.0.0.1:0", "--topology"]);
    let mut server = Serving(program.args(words).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut said = BufReader::new(server.0.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on ").unwrap();
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let frame = *b"\x0c\x00\x07\x00payload!";
    peer.write_all(&frame).unwrap();
    let mut back = [0; 12];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(back, frame, "{words:?}");
}

#[test]
fn serve_serves_the_network_that_listens() {
    for name in SAMPLES {
        serves(&[&sample(name)]);
    }
    let two = "[port.main]\nworkers = 1\n[network.game]\nlisten = \"127.0.0.1:1\"\n\
               [network.web]\nlisten = \"127.0.0.1:2\"\n";
    let two = file("serve_two.toml", two);
    serves(&[&two, "--network", "web"]);
    refused(
        &["serve", "echo", "--topology", &two],
        "several networks listen; say which with --network; those that listen: game, web",
    );
    refused(
        &["serve", "echo", "--topology", &two, "--network", "wbe"],
        "no network \"wbe\" listens; those that listen: game, web",
    );
    let none = file(
        "serve_none.toml",
        "[port.main]\n[network.chat]\nconnect = \"a:1\"\n",
    );
    refused(
        &["serve", "echo", "--topology", &none],
        "no network listens",
    );
    refused(&["serve", "echo", "--network", "web"], "--topology");
    refused(
        &["serve", "echo", "--topology", &two, "--workers", "2"],
        "--workers",
    );
}
