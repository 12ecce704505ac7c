//! A thread that goes before all ordinary ones: the driver of a measurement.

use std::io;

/// Has the calling thread run before every thread of ordinary priority, from now on: `SCHED_FIFO`
/// at its lowest priority on Linux, the highest priority of a process's threads on Windows.
///
/// # Errors
/// What the system refused; Linux wants `CAP_SYS_NICE` or an `RLIMIT_RTPRIO`.
#[cfg(target_os = "linux")]
pub fn run_ahead() -> io::Result<()> {
    use thread_priority::{
        RealtimeThreadSchedulePolicy as Realtime, ThreadPriority, ThreadPriorityValue,
        ThreadSchedulePolicy as Policy,
    };
    let lowest = ThreadPriority::Crossplatform(
        ThreadPriorityValue::try_from(1u8).map_err(io::Error::other)?,
    );
    let policy = Policy::Realtime(Realtime::Fifo);
    let this = thread_priority::thread_native_id();
    thread_priority::set_thread_priority_and_policy(this, lowest, policy).map_err(told)
}

/// Has the calling thread run before every thread of ordinary priority, from now on.
///
/// # Errors
/// What the system refused.
#[cfg(not(target_os = "linux"))]
pub fn run_ahead() -> io::Result<()> {
    thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Max).map_err(told)
}

fn told(error: thread_priority::Error) -> io::Error {
    match error {
        thread_priority::Error::OS(code) => io::Error::from_raw_os_error(code),
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread::Builder;

    use super::*;

    #[test]
    fn the_thread_is_told_apart_by_the_kernel_or_the_refusal_is_told() {
        let ahead = || {
            let told = run_ahead();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 41 is the policy; the name in field 2 may hold anything up to its `)`.
            let after_name = stat.rsplit_once(')').unwrap().1;
            (
                told,
                after_name.split_whitespace().nth(38).unwrap().to_owned(),
            )
        };
        let thread = Builder::new().name("ahead".into()).spawn(ahead).unwrap();
        let (told, policy) = thread.join().unwrap();
        match told {
            Ok(()) => assert_eq!(policy, "1", "SCHED_FIFO"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
                assert_eq!(policy, "0", "SCHED_OTHER");
            }
        }
    }
}
