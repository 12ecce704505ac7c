//! The program as scripts rely on it: demo, serve, doctor, their exit codes and their output.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn wharf(line: &str) -> Output {
    let words = line.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(words)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_answers_every_request_and_says_so() {
    for line in [
        "demo --seconds 1 --bots 20",
        "demo --seconds 1 --bots 20 --shared --workers 1",
    ] {
        let output = wharf(line);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{line}\n{text}");
        for named in [
            "game",
            "chat",
            "master",
            "p99.9",
            "busy %",
            "20 of 20 bots connected",
        ] {
            assert!(text.contains(named), "{line}: no \"{named}\" in\n{text}");
        }
    }
}

#[test]
fn a_demo_that_is_broken_on_purpose_exits_1_and_names_the_fault() {
    for (sabotage, field) in [
        ("lose", "lost"),
        ("double", "doubled"),
        ("reorder", "reordered"),
        ("corrupt", "corrupt"),
    ] {
        let line = format!("demo --seconds 2 --bots 2 --json --sabotage {sabotage}");
        let output = wharf(&line);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}\n{report:#}");
        assert_eq!(report["fault"], true);
        let game = report["networks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|n| n["name"] == "game");
        let faults = &game.unwrap()["faults"];
        assert!(faults[field].as_u64().unwrap() > 0, "{sabotage}: {faults}");
        for other in ["lost", "doubled", "reordered", "corrupt"]
            .iter()
            .filter(|o| **o != field)
        {
            assert_eq!(faults[*other], 0, "{sabotage}: {faults}");
        }
    }
}

#[test]
fn doctor_names_the_backends() {
    let output = wharf("doctor --json");
    assert_eq!(output.status.code(), Some(0));
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let defaults = findings["backends"].as_array().unwrap().iter();
    assert_eq!(
        defaults
            .filter(|backend| backend["is_default"] == true)
            .count(),
        1
    );
    assert_eq!(findings["panics_are_contained"], true);
    assert!(stdout(&wharf("doctor")).contains("is the default here"));
}

#[test]
fn serve_refuses_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (line, code, named) in [
        (format!("serve echo --listen {taken}"), 3, taken.as_str()),
        (
            "serve echo --listen 127.0.0.1:0 --workers 0".to_owned(),
            2,
            "workers is 0",
        ),
        (
            "serve echo --listen 127.0.0.1:0 --backend kqeue".to_owned(),
            2,
            "\"kqeue\"",
        ),
        ("serve echo --listen nowhere".to_owned(), 2, "\"nowhere\""),
        ("serve ecko".to_owned(), 2, "echo"),
    ] {
        let output = wharf(&line);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains(named), "{line}: no {named} in: {text}");
    }
}

/// On Windows `cargo xtask windows` does the same with Ctrl-Break: that needs a console.
#[cfg(unix)]
#[test]
fn serve_echoes_and_drains_on_sigterm() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    let mut server = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["serve", "echo", "--listen", "127.0.0.1:0", "--workers", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let addr = line.trim().strip_prefix("listening on ").unwrap();
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let frame = *b"\x0c\x00\x07\x00payload!";
    peer.write_all(&frame).unwrap();
    let mut back = [0; 12];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(back, frame);

    let pid = server.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        peer.read(&mut back).unwrap(),
        0,
        "the drain ends the stream in good order"
    );
    drop(peer);
    let until = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = server.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "the server did not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn broadcast_and_sink_serve_the_load() {
    for (service, mode) in [("broadcast", "broadcast"), ("sink", "sink")] {
        let mut server = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["serve", service, "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line.trim().strip_prefix("listening on ").unwrap();
        let load = format!("load --connect {addr} --mode {mode} -c 20 -t 1 --json");
        let output = wharf(&load);
        server.kill().unwrap();
        server.wait().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{service}: {report:#}");
        assert!(report["frames_sent"].as_u64().unwrap() > 0);
    }
}
