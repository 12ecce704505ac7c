//! What a Wine server writes about the requests it gets: counted by process and by name.
//!
//! Under Wine the server plays the kernel, and nearly every call on a socket or a completion port
//! is a request to it. How many an echo needs does not depend on how fast the machine is.

use std::collections::{BTreeMap, BTreeSet};

/// Requests of one process by name.
pub(super) type Requests = BTreeMap<String, u64>;

/// Requests of the process whose number on Linux is `unix_pid`, from byte `start` of the trace on.
pub(super) fn requests_of(trace: &str, unix_pid: u32, start: usize) -> Requests {
    let first = format!("init_first_thread( unix_pid={unix_pid},");
    let mut threads = BTreeSet::new();
    let mut counted = Requests::new();
    let mut at = 0;
    // Whether the last thread that one of ours asked for is for its own process.
    let mut for_itself = false;
    for line in trace.lines() {
        at += line.len() + 1;
        let Some((thread, what)) = line.split_once(": ") else {
            continue;
        };
        if what.starts_with(&first) {
            threads.insert(thread);
        }
        if !threads.contains(thread) {
            continue;
        }
        if what.starts_with("new_thread( ") {
            for_itself = what.contains("process=ffffffff,");
        }
        // One such line a request; the request itself is another one.
        let Some((name, answer)) = what.split_once("() = ") else {
            continue;
        };
        let new = answer
            .split_once("tid=")
            .and_then(|(_, rest)| rest.split([',', ' ']).next());
        if let Some(new) = new.filter(|_| name == "new_thread" && for_itself) {
            threads.insert(new);
        }
        if at > start {
            *counted.entry(name.to_owned()).or_default() += 1;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
wineserver: starting (pid=9)
0024: init_first_thread( unix_pid=50, unix_tid=50, debug_level=0 )
0024: init_first_thread() = 0 { pid=0020, tid=0024 }
0030: init_first_thread( unix_pid=51, unix_tid=51, debug_level=0 )
0030: init_first_thread() = 0 { pid=002c, tid=0030 }
0030: new_thread( process=ffffffff, access=001fffff )
0030: new_thread() = 0 { tid=0034, handle=00a0 }
0030: new_thread( process=0060, access=001fffff )
0030: new_thread() = 0 { tid=0038, handle=00a4 }
0034: close_handle( handle=0004 )
0034: *fd* 0004 -> 20
0034: close_handle() = 0
0034: select( flags=2, timeout=infinite )
0034: select() = PENDING { call={APC_NONE} }
0034: *wakeup* signaled=0
0038: close_handle() = 0
0024: close_handle() = 0
";

    #[test]
    fn requests_are_counted_once_and_for_their_process() {
        let all = requests_of(TRACE, 51, 0);
        let expected = [
            ("close_handle", 1),
            ("init_first_thread", 1),
            ("new_thread", 2),
            ("select", 1),
        ];
        assert_eq!(all, expected.map(|(name, n)| (name.to_owned(), n)).into());
        let start = TRACE.find("0034: select(").expect("there");
        assert_eq!(
            requests_of(TRACE, 51, start),
            [("select".to_owned(), 1)].into()
        );
        assert_eq!(requests_of(TRACE, 52, 0), Requests::new());
    }
}
