//! Listeners from the service manager: systemd's socket activation, sd_listen_fds(3).
#![allow(
    unsafe_code,
    reason = "a descriptor whose number stands in the environment"
)]

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use parking_lot::Mutex;
use rustix::io::{FdFlags, fcntl_setfd};

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More is a slip, or somebody else's variable.
const MOST: usize = 1024;

/// Descriptors that were taken: each is given away once.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// The listener of this name (`FileDescriptorName=` in the socket unit) that was passed to this
/// process and not taken yet.
///
/// # Errors
/// There is none; it is no listening TCP socket.
pub(crate) fn from_environment(name: &str) -> io::Result<TcpListener> {
    let var = |name: &str| std::env::var(name).ok();
    let passed = Passed {
        pid: var("LISTEN_PID"),
        count: var("LISTEN_FDS"),
        names: var("LISTEN_FDNAMES"),
    };
    let mut taken = TAKEN.lock();
    let number = passed.find(name, std::process::id(), &taken);
    let number = number.map_err(|why| io::Error::new(io::ErrorKind::NotFound, why))?;
    taken.push(number);
    drop(taken);
    // SAFETY: LISTEN_PID names this process (`Passed::find`), so whoever started it has left
    // `number` open for it and nothing in it has opened that number; `TAKEN`, looked at under its
    // lock above, gives each number away once, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    // It is told if the number is no open descriptor after all.
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    let socket = socket2::Socket::from(socket);
    if !super::listens(&socket)? {
        let why = format!("\"{name}\" was passed to this process, and is no listening TCP socket");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(socket.into())
}

/// What the environment says.
struct Passed {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

impl Passed {
    /// The number of the first descriptor of this name that is not taken.
    fn find(&self, name: &str, pid: u32, taken: &[RawFd]) -> Result<RawFd, String> {
        const HOW: &str = "systemd passes the sockets of a .socket unit whose FileDescriptorName= \
                           is that name";
        let Some(count) = &self.count else {
            return Err(format!("no socket was passed to this process; {HOW}"));
        };
        let own = self.pid.as_ref().and_then(|text| text.parse().ok());
        if own != Some(pid) {
            return Err(
                "the sockets in LISTEN_FDS were passed to another process (LISTEN_PID)".into(),
            );
        }
        let count = count.parse().ok().filter(|count| *count <= MOST);
        let Some(count) = count else {
            return Err("LISTEN_FDS is no number of sockets".to_owned());
        };
        let names = self.names.as_deref().unwrap_or_default();
        // What has no name is called so, as sd_listen_fds_with_names(3) does.
        let names = names
            .split(':')
            .map(|name| if name.is_empty() { "unknown" } else { name });
        let names: Vec<_> = names
            .chain(std::iter::repeat("unknown"))
            .take(count)
            .collect();
        let mut numbers = (FIRST..).zip(&names);
        let found = numbers.find(|(number, passed)| **passed == name && !taken.contains(number));
        found.map(|(number, _)| number).ok_or_else(|| {
            format!(
                "no socket named \"{name}\" was passed to this process, or it was taken; there is \
                 {}; {HOW}",
                names.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pid: &str, count: &str, names: &str) -> Passed {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Passed {
            pid: some(pid),
            count: some(count),
            names: some(names),
        }
    }

    #[test]
    fn names_are_found_in_their_order_and_once() {
        let three = passed("7", "3", "game:chat:game");
        assert_eq!(three.find("chat", 7, &[]), Ok(4));
        assert_eq!(three.find("game", 7, &[]), Ok(3));
        assert_eq!(three.find("game", 7, &[3]), Ok(5));
        let gone = three.find("game", 7, &[3, 5]).unwrap_err();
        assert!(gone.contains("there is game, chat, game"), "{gone}");
        let unnamed = passed("7", "2", "");
        assert_eq!(unnamed.find("unknown", 7, &[3]), Ok(4));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let said = |passed: Passed| passed.find("game", 7, &[]).unwrap_err();
        assert!(said(passed("", "", "")).contains("no socket was passed"));
        assert!(said(passed("8", "1", "game")).contains("another process"));
        assert!(said(passed("", "1", "game")).contains("another process"));
        assert!(said(passed("7", "-1", "game")).contains("no number"));
        assert!(said(passed("7", "999999999", "game")).contains("no number"));
    }

    #[test]
    fn this_process_was_passed_nothing() {
        let error = from_environment("game").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
