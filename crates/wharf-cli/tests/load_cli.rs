//! `wharf load` as a program: exit codes, messages, help, pipes and limits.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{echo, json, load, stderr, text, wharf};
use serde_json::Value;

#[test]
fn nobody_listening_is_exit_3_with_the_command_to_start() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (mode, kind) in [
        ("echo", "echo"),
        ("broadcast", "broadcast"),
        ("idle", "echo"),
    ] {
        let output = load(
            free,
            &format!("-c 10 -t 1 --threads 2 --json --mode {mode}"),
        );
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
        assert_eq!(
            stderr(&output).trim(),
            format!(
                "error: could not connect to {free}: connection refused; \
                 is 'wharf serve {kind} --listen {free}' running?"
            )
        );
    }
}

#[test]
fn wrong_arguments_are_exit_2() {
    for (line, named) in [
        ("lood", "load"),
        ("load --connections 0", "0"),
        ("load --size 11", "11"),
        ("load --size 65536", "65536"),
        ("load --seconds soon", "soon"),
        ("load --seconds 0", "more than 0"),
        ("load --mode ecko", "echo"),
        ("load --mode idle --rate 5", "--rate"),
        ("load --connect nowhere", "HOST:PORT"),
        ("load --source-addrs 1.2.3", "1.2.3"),
    ] {
        let output = wharf(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            stderr(&output).contains(named),
            "{line}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(wharf("load --help").status.code(), Some(0));
}

#[test]
fn help_documents_every_field_of_the_report() {
    fn check(help: &str, value: &Value) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let words = |c: char| !c.is_alphanumeric() && c != '_';
            assert!(
                help.split(words).any(|word| word == name),
                "{name} is not in the help"
            );
            check(help, value);
        }
    }
    let help = text(&wharf("load --help").stdout);
    let (report, _) = json(&load(echo().addr, "-c 2 --rate 100 -t 0.2 --json"));
    check(&help, &report);
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let server = echo();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args([
            "load",
            "--connect",
            &server.addr.to_string(),
            "-c",
            "1",
            "-t",
            "20",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let started = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
#[cfg(unix)]
fn too_few_open_files_are_named_before_the_run() {
    let server = echo();
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" load --connect \"$1\" -c 1000",
        ])
        .args([env!("CARGO_BIN_EXE_wharf"), &server.addr.to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let message = stderr(&output);
    assert!(message.contains("limit of this process is 64"), "{message}");
    assert!(message.contains("ulimit -n 1192"), "{message}");
    assert_eq!(server.accepted(), 0);
}

/// Other systems have only 127.0.0.1, or another backlog.
#[cfg(target_os = "linux")]
mod linux {
    use std::thread;

    use super::*;

    #[test]
    fn source_addresses_are_used_in_turn() {
        let mut seen = Vec::new();
        let server = echo();
        thread::scope(|scope| {
            let run = || {
                load(
                    server.addr,
                    "-c 4 --mode idle -t 1 --source-addrs 127.0.0.1,127.0.0.2",
                )
            };
            let run = thread::Builder::new()
                .name("run".into())
                .spawn_scoped(scope, run)
                .unwrap();
            while !run.is_finished() && seen.len() < 4 {
                seen = server.peer_addrs();
                thread::sleep(Duration::from_millis(10));
            }
        });
        for source in ["127.0.0.1", "127.0.0.2"] {
            let from = seen.iter().filter(|peer| peer.ip().to_string() == source);
            assert_eq!(from.count(), 2, "{source} in {seen:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_accept_meets_the_timeout() {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let output = load(addr, "-c 8 --connect-timeout-seconds 0.5");
        assert_eq!(output.status.code(), Some(3));
        let message = stderr(&output);
        assert!(
            message.contains("of 8 connections were up after 0.5 s"),
            "{message}"
        );
    }
}
