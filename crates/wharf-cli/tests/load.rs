//! `wharf load` against an echo that behaves, and echoes that each have one fault.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, Server, To, echo, expect, load, number, stderr, text};

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
fn a_run_of_so_many_frames_ends_when_all_are_answered() {
    let server = echo();
    for line in ["-c 4 -p 1", "-c 5 -p 16 --threads 2"] {
        // The 600 seconds are the proof: no test has them.
        let report = expect(&server, &format!("{line} --frames 100 -t 600"), &[]);
        let all = number(&report["config"], "connections") * 100;
        assert_eq!(number(&report, "frames_answered"), all, "{line}");
        assert!(report["seconds"].as_f64().unwrap() < 600.0);
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
    let first = report["first_fault"].as_str().unwrap();
    assert!(
        first.contains("frame 6 of connection 0 came, but not the 1 before it"),
        "{first}"
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
            let line = format!("-c 1 -p {depth} -s 64 -t 0.3");
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
    // 200 frames a second, one of which takes 400 ms: the 80 frames due meanwhile waited too,
    // though a depth of 1 keeps them from being sent. A closed loop would see one slow frame in
    // hundreds.
    let server = Server::simple(|n, frame| {
        if n == 50 {
            thread::sleep(Duration::from_millis(400));
        }
        vec![(To::Back, frame)]
    });
    let report = expect(&server, "-c 1 --rate 200 --depth 1 -t 1", &[]);
    // The last ones may be due too late to get their turn before the end.
    assert!(number(&report["latency_us"], "samples") >= 190, "{report}");
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
