//! The other modes of `wharf load`: broadcast, sink, churn and idle.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use common::{Server, To, echo, expect, json, load, number, stderr, text};

fn broadcast() -> Server {
    Server::simple(|_, frame| vec![(To::All, frame)])
}

#[test]
fn broadcast_reaches_everybody_in_order() {
    let server = broadcast();
    for line in [
        "-c 5 -t 0.3",
        "-c 5 --senders 2 -p 3 -t 0.3",
        "-c 6 --senders 6 -p 2 --threads 3 -t 0.3",
        "-c 4 --senders 2 --rate 300 -t 0.3",
    ] {
        // Earlier connections are gone, so every run is alone with its own.
        let report = expect(&server, &format!("--mode broadcast {line}"), &[]);
        let sent = number(&report, "frames_sent");
        let connections = number(&report["config"], "connections");
        assert!(sent > 10, "{line}: {sent}");
        assert_eq!(
            number(&report, "frames_expected"),
            sent * connections,
            "{line}"
        );
        assert_eq!(
            number(&report, "frames_answered"),
            sent * connections,
            "{line}"
        );
        assert_eq!(
            number(&report["last_receiver_us"], "samples"),
            sent,
            "{line}"
        );
    }
}

#[test]
fn broadcast_faults_are_those_of_one_delivery() {
    // Connections 0 and 1 send; all three get everything, but for frame 8 of connection 0.
    let faulty = |to_last: Vec<To>| {
        Server::start(move |number| {
            let to_last = to_last.clone();
            let mut real = 0;
            Box::new(move |_, frame| {
                // Greetings (connection number u32::MAX) are not frames of a sender.
                let count = if frame[4..8] == [255; 4] { 0 } else { real + 1 };
                real = count.max(real);
                if number == 0 && count == 8 {
                    let some = [To::Peer(0), To::Peer(1)];
                    some.iter()
                        .chain(&to_last)
                        .map(|&to| (to, frame.clone()))
                        .collect()
                } else {
                    vec![(To::All, frame)]
                }
            })
        })
    };
    let line = "--mode broadcast -c 3 --senders 2 -p 2 -t 0.3";
    expect(&faulty(vec![To::Peer(2)]), line, &[]);
    expect(&faulty(vec![]), line, &[("lost", 1)]);
    expect(
        &faulty(vec![To::Peer(2), To::Peer(2)]),
        line,
        &[("doubled", 1)],
    );
}

#[test]
fn broadcast_to_an_echo_is_refused_before_the_run() {
    let server = echo();
    let output = load(
        server.addr,
        "--mode broadcast -c 3 --connect-timeout-seconds 0.2",
    );
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains("only 1 of 3 connections"), "{message}");
    assert!(message.contains("wharf serve broadcast"), "{message}");
}

#[test]
fn sink_only_sends() {
    let server = Server::simple(|_, _| vec![]);
    let report = expect(&server, "--mode sink -c 2 -s 500 -t 0.3", &[]);
    let (frames, bytes) = (
        number(&report, "frames_sent"),
        number(&report, "bytes_sent"),
    );
    assert!(frames > 1000);
    assert!(
        (frames * 500..frames * 500 + 2 * 500).contains(&bytes),
        "{frames} {bytes}"
    );
    assert_eq!(number(&report, "frames_expected"), 0);

    let (report, code) = json(&load(echo().addr, "--mode sink -c 1 -p 1 -t 0.2 --json"));
    assert_eq!(code, 1, "a sink that answers is no sink");
    assert!(number(&report, "corrupt") > 0);
}

#[test]
fn churn_connects_again_and_again() {
    let server = echo();
    let report = expect(&server, "--mode churn -c 3 -t 0.4 --threads 2", &[]);
    let connects = number(&report, "connects");
    assert!(connects > 10, "{connects}");
    assert!(
        (connects - 3..=connects).contains(&number(&report, "frames_answered")),
        "{report}"
    );
    assert_eq!(number(&report["connect_us"], "samples"), connects);
}

#[test]
fn idle_says_when_it_holds_the_connections() {
    let server = echo();
    let output = load(server.addr, "--mode idle -c 7 -t 0.2");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let out = text(&output.stdout);
    assert_eq!(out.lines().next(), Some("holding 7 connections"));
    assert_eq!(server.accepted(), 7);

    let output = load(server.addr, "--mode idle -c 2 -t 0.2 --json");
    assert_eq!(number(&json(&output).0, "frames_answered"), 2);
    assert_eq!(stderr(&output).trim(), "holding 2 connections");
}

#[test]
fn an_idle_connection_that_is_closed_early_ends_the_run() {
    let server = Server::simple(|_, _| vec![(To::Back, vec![])]);
    let output = load(server.addr, "--mode idle -c 2 -t 5");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.is_empty(),
        "holds nothing: {}",
        text(&output.stdout)
    );
    assert!(
        stderr(&output).contains("closed by the server before the run"),
        "{output:?}"
    );
}
