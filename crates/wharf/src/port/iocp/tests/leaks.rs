//! Handles: as many after as before. The system counts them for the whole process, so each count is
//! made by a process of its own.

use std::process::Command;

use super::super::sys;
use super::*;

/// Runs the ignored test of this name alone, in a process of its own.
fn alone(name: &str) {
    let own = std::env::current_exe().unwrap();
    let name = format!("port::iocp::tests::leaks::{name}");
    let args = ["--exact", &name, "--include-ignored", "--test-threads", "1"];
    let output = Command::new(own).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// Every kind of op under way, and the port dropped: in both orders.
fn one_life(round: usize) {
    let port = open();
    let listener = port.listen(local(), &ListenOptions::default()).unwrap();
    port.register(LISTENER, &listener).unwrap();
    let addr = port.local_addr(&listener).unwrap();
    let waiting = TcpStream::connect(addr).unwrap();
    let (idle, mut first) = connected(&port);
    let (sends, second) = connected(&port);
    fill(&port, &sends);
    give(&mut first, b"unread");
    let connects = port.connect(addr, &SocketOptions::default()).unwrap();
    if round.is_multiple_of(2) {
        port.reset_on_close(&sends);
        drop((idle, sends, connects, listener));
        drop(port);
    } else {
        port.disconnect(&sends);
        drop(port);
        drop((idle, sends, connects, listener));
    }
    drop((waiting, first, second));
}

#[test]
#[ignore = "counts the handles of the whole process: run alone by no_handle_is_left"]
fn counts() {
    // What the process opens once: libraries, the pool of the system's timers.
    (0..4).for_each(one_life);
    let before = sys::handle_count();
    (0..20).for_each(one_life);
    let after = sys::handle_count();
    assert!(
        after <= before + 2,
        "{before} handles before, {after} after 20 lives"
    );
}

#[test]
fn no_handle_is_left() {
    alone("counts");
}
