//! `wharf load` against small servers that behave, and servers that each have one fault.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, Server, To, json, load, stderr, text, wharf};
use serde_json::Value;

const FAULTS: [&str; 7] = [
    "lost",
    "doubled",
    "reordered",
    "corrupt",
    "misrouted",
    "connect_failed",
    "closed_by_peer",
];

fn echo() -> Server {
    Server::simple(|_, frame| vec![(To::Back, frame)])
}

fn broadcast() -> Server {
    Server::simple(|_, frame| vec![(To::All, frame)])
}

fn number(report: &Value, name: &str) -> u64 {
    report[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is no number in {report}"))
}

/// Runs with `--json` and checks that exactly these faults were counted, and nothing else.
fn expect(server: &Server, line: &str, faults: &[(&str, u64)]) -> Value {
    let output = load(server.addr, &format!("{line} --json"));
    let (report, code) = json(&output);
    for name in FAULTS {
        let wanted = faults
            .iter()
            .find(|fault| fault.0 == name)
            .map_or(0, |fault| fault.1);
        assert_eq!(number(&report, name), wanted, "{name} of {line}: {report}");
    }
    let fault = faults.iter().any(|fault| fault.1 > 0);
    assert_eq!(code, i32::from(fault), "{report}");
    assert_eq!(report["fault"], fault);
    assert_eq!(report["first_fault"].is_string(), fault);
    report
}

#[test]
fn a_correct_echo_has_no_fault() {
    let server = echo();
    for line in [
        "-c 4 -p 8 -s 100 -t 0.3",
        "-c 5 -p 3 -s 12 -t 0.3 --threads 2",
        "-c 2 -p 2 -s 65535 -t 0.3",
        "-c 1 -p 64 -s 1000 -t 0.3 --warmup-seconds 0.1",
    ] {
        let report = expect(&server, line, &[]);
        let sent = number(&report, "frames_sent");
        assert!(sent > 20, "{line}: {sent}");
        assert_eq!(number(&report, "frames_expected"), sent);
        assert_eq!(number(&report, "frames_answered"), sent);
        let bytes = sent * number(&report["config"], "size");
        assert_eq!(number(&report, "bytes_received"), bytes);
        let latency = &report["latency_us"];
        let samples = number(latency, "samples");
        assert_eq!(
            samples < sent,
            line.contains("warmup"),
            "warm-up frames are not measured"
        );
        let times: Vec<f64> = ["min", "p50", "p90", "p99", "p99_9", "max"]
            .iter()
            .map(|name| latency[name].as_f64().unwrap())
            .collect();
        assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
        assert!(report["client_cpu_seconds"].as_f64().unwrap() > 0.0);
        assert!((report["seconds"].as_f64().unwrap() - 0.3).abs() < 0.01);
    }
}

#[test]
fn a_dropped_frame_is_lost() {
    let server = Server::simple(|n, frame| {
        if n == 5 {
            vec![]
        } else {
            vec![(To::Back, frame)]
        }
    });
    let report = expect(&server, "-c 1 -p 4 -t 0.3", &[("lost", 1)]);
    assert!(
        number(&report, "frames_answered") > 100,
        "the loop goes on after a loss"
    );
    assert!(
        report["first_fault"].as_str().unwrap().contains("frame 5"),
        "{report}"
    );
    // On each of several connections and threads.
    expect(&server, "-c 6 -p 4 -t 0.3 --threads 3", &[("lost", 6)]);
}

#[test]
fn a_doubled_frame_is_doubled() {
    let server = Server::simple(|n, frame| {
        let copies = if n == 5 { 2 } else { 1 };
        vec![(To::Back, frame); copies]
    });
    expect(&server, "-c 1 -p 4 -t 0.3", &[("doubled", 1)]);
    expect(&server, "-c 3 -p 1 -s 12 -t 0.3", &[("doubled", 3)]);
}

#[test]
fn two_swapped_frames_are_one_reordered() {
    let server = Server::start(|_| {
        let mut held = None;
        let answer: Answer = Box::new(move |n, frame| match n {
            5 => {
                held = Some(frame);
                vec![]
            }
            6 => [frame]
                .into_iter()
                .chain(held.take())
                .map(|frame| (To::Back, frame))
                .collect(),
            _ => vec![(To::Back, frame)],
        });
        answer
    });
    expect(&server, "-c 1 -p 4 -t 0.3", &[("reordered", 1)]);
    expect(&server, "-c 2 -p 2 -s 12 -t 0.3", &[("reordered", 2)]);
}

#[test]
fn a_wrong_byte_anywhere_is_one_corrupt_frame() {
    // Length, id, connection number (low, high), sequence number (low, high), pattern, last byte.
    for at in [0, 1, 2, 3, 4, 7, 8, 11, 12, 40, 63] {
        let server = Server::simple(move |n, mut frame| {
            if n == 5 {
                frame[at] ^= 1;
            }
            vec![(To::Back, frame)]
        });
        for depth in [1, 4] {
            let line = format!("-c 1 -p {depth} -s 64 -t 0.1");
            let report = expect(&server, &line, &[("corrupt", 1)]);
            let sent = number(&report, "frames_sent");
            assert_eq!(number(&report, "frames_answered"), sent - 1, "byte {at}");
            let first = report["first_fault"].as_str().unwrap();
            assert!(
                first.contains("1 wrong bytes") && first.contains("frame 5"),
                "{first}"
            );
        }
    }
}

#[test]
fn a_reply_to_the_wrong_connection_is_misrouted() {
    let server = Server::start(|number| {
        Box::new(move |n, frame| {
            let to = if n == 5 && number == 0 {
                To::Peer(1)
            } else {
                To::Back
            };
            vec![(to, frame)]
        })
    });
    expect(
        &server,
        "-c 2 -p 4 -t 0.3",
        &[("misrouted", 1), ("lost", 1)],
    );
}

#[test]
fn a_closed_connection_is_counted_and_ends_the_run_early() {
    let server = Server::simple(|n, frame| match n {
        5 => vec![(To::Back, vec![])],
        _ => vec![(To::Back, frame)],
    });
    let started = Instant::now();
    let report = expect(
        &server,
        "-c 3 -p 1 -t 20",
        &[("closed_by_peer", 3), ("lost", 3)],
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "nobody is left to send to"
    );
    assert_eq!(number(&report, "frames_answered"), 15);
}

#[test]
fn a_reply_that_never_comes_is_lost_after_the_drain() {
    let server = Server::simple(|_, _| vec![]);
    let report = expect(&server, "-c 2 -p 3 -t 0.2", &[("lost", 6)]);
    assert!(report["latency_us"].is_null());
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

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = echo();
    let report = expect(&server, "-c 4 --rate 500 -t 1 --threads 2", &[]);
    let open = &report["open_loop"];
    assert_eq!(number(open, "frames_due"), 500);
    assert_eq!(number(open, "frames_unsent"), 0);
    assert_eq!(number(&report, "frames_sent"), 500);
    assert_eq!(number(&open["send_late_us"], "samples"), 500);
}

#[test]
fn a_stall_shows_in_the_latency_of_every_frame_that_was_due() {
    // 200 frames a second, one of which takes 400 ms: the 80 frames due meanwhile waited too, though
    // a depth of 1 keeps them from being sent. A closed loop would see one slow frame in hundreds.
    let server = Server::simple(|n, frame| {
        if n == 50 {
            thread::sleep(Duration::from_millis(400));
        }
        vec![(To::Back, frame)]
    });
    let report = expect(&server, "-c 1 --rate 200 --depth 1 -t 1", &[]);
    assert_eq!(number(&report["latency_us"], "samples"), 200);
    let time = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(time("p90") > 150_000.0, "p90 {} us", time("p90"));
    assert!(time("max") >= 399_000.0, "max {} us", time("max"));
    let late = report["open_loop"]["send_late_us"]["max"].as_f64().unwrap();
    assert!(
        late > 300_000.0,
        "the wait before sending is reported as well: {late} us"
    );
}

#[test]
fn falling_behind_is_reported() {
    let server = Server::simple(|_, frame| {
        thread::sleep(Duration::from_millis(10));
        vec![(To::Back, frame)]
    });
    let output = load(server.addr, "-c 1 --rate 1000 --depth 2 -t 0.5");
    assert_eq!(
        output.status.code(),
        Some(0),
        "slow is no fault: {}",
        stderr(&output)
    );
    let out = text(&output.stdout);
    assert!(
        out.contains("fell behind") && out.contains("of 500 due frames"),
        "{out}"
    );
}

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
        ("", "Usage"),
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
    use super::*;

    #[test]
    fn source_addresses_are_used_in_turn() {
        let seen = Arc::new(Mutex::new(Vec::new()));
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
            while !run.is_finished() && seen.lock().unwrap().len() < 4 {
                *seen.lock().unwrap() = server.peer_addrs();
                thread::sleep(Duration::from_millis(10));
            }
        });
        let seen = seen.lock().unwrap();
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
