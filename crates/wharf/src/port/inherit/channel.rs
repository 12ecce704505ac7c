//! Listeners from the process that this one replaces: passed as rights over a Unix socket
//! (unix(7), `SCM_RIGHTS`). Who may connect to it is who may write to its file, which is the owner.
//!
//! ```text
//! old                                     new
//! waits at PATH            ◀── connect ── take_over(PATH)
//! names, then the listeners ─────────────▶ starts, accepts beside the old one
//! stops accepting, drains  ◀─── "R" ───── say_ready
//! ```
//! Nothing is lost whoever dies when: both hold the same sockets of the kernel, whose backlog is
//! one; the old process stops accepting only after the new one has begun.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::Named;

/// The first line: another one is another version.
const GREETING: &str = "wharf listeners 1";
/// Names of more bytes are none of ours.
const NAMES_MAX: usize = 64 * 1024;
/// The old process answers at once.
const ANSWER: Duration = Duration::from_secs(10);
const READY: u8 = b'R';

/// A place where a successor may ask for the listeners.
#[derive(Debug)]
pub(crate) struct Offer {
    listener: UnixListener,
    path: PathBuf,
    /// Where it stands until it is published.
    made_at: PathBuf,
}

impl Offer {
    /// Makes it, beside the path: a predecessor may still be asked there.
    ///
    /// # Errors
    /// The directory does not exist or can't be written to; the path is too long for a socket.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let mut made_at = path.as_os_str().to_owned();
        made_at.push(format!(".{}.new", std::process::id()));
        let made_at = PathBuf::from(made_at);
        if made_at.exists() {
            fs::remove_file(&made_at)?;
        }
        let listener = UnixListener::bind(&made_at)?;
        fs::set_permissions(&made_at, Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            made_at,
        })
    }

    /// From now on successors find it at its path, and no predecessor any more.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.made_at, &self.path)
    }

    /// Waits for a successor.
    ///
    /// # Errors
    /// The wait was ended.
    pub(crate) fn wait(&self) -> io::Result<Channel> {
        let (stream, _) = self.listener.accept()?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Channel(stream))
    }

    /// Ends the wait, for good.
    pub(crate) fn end(&self) {
        // A listener that is shut down wakes who waits in accept.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }

    /// Takes its file away: nobody took over.
    pub(crate) fn withdraw(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // There only if it was never published.
        let _ = fs::remove_file(&self.made_at);
    }
}

/// A connection between a process and its successor.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Passes the listeners on.
    ///
    /// # Errors
    /// The successor is gone.
    pub(crate) fn send(&self, listeners: &[Named]) -> io::Result<()> {
        let names = listeners.iter().map(|(name, _)| format!("{name}\n"));
        let text = format!("{GREETING}\n{}\n", names.collect::<String>());
        (&self.0).write_all(text.as_bytes())?;
        for (_, listener) in listeners {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            let passed = [listener.as_fd()];
            rights.push(SendAncillaryMessage::ScmRights(&passed));
            sendmsg(
                &self.0,
                &[IoSlice::new(b"L")],
                &mut rights,
                SendFlags::empty(),
            )?;
        }
        Ok(())
    }

    /// Waits until the successor says that it serves; false if it is gone instead.
    pub(crate) fn is_ready(&self) -> bool {
        let mut said = [0];
        matches!((&self.0).read(&mut said), Ok(1)) && said[0] == READY
    }

    /// Says that this process serves.
    ///
    /// # Errors
    /// The predecessor is gone.
    pub(crate) fn say_ready(&self) -> io::Result<()> {
        (&self.0).write_all(&[READY])
    }

    /// Ends the wait.
    pub(crate) fn end(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Asks the process at this path for its listeners; `None` if there is none.
///
/// # Errors
/// It answers with something else.
pub(crate) fn take_over(path: &Path) -> io::Result<Option<(Vec<Named>, Channel)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => {
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return if nobody.contains(&error.kind()) {
                Ok(None)
            } else {
                Err(error)
            };
        }
    };
    stream.set_read_timeout(Some(ANSWER))?;
    let mut listeners = Vec::new();
    for name in names(&stream)? {
        listeners.push((name, listener(&stream)?));
    }
    Ok(Some((listeners, Channel(stream))))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The lines up to the first empty one, byte by byte: what follows carries the listeners.
fn names(mut stream: &UnixStream) -> io::Result<Vec<String>> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\n\n") {
        if text.len() > NAMES_MAX {
            return Err(wrong("the process that waits there is no wharf"));
        }
        stream.read_exact(&mut byte)?;
        text.extend(byte);
    }
    let text = String::from_utf8(text).map_err(|_| wrong("its names are no text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(GREETING) {
        return Err(wrong(
            "the process that waits there is no wharf, or of another version",
        ));
    }
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

fn listener(stream: &UnixStream) -> io::Result<TcpListener> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut rights,
        RecvFlags::empty(),
    )?;
    let passed = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
        _ => None,
    });
    let passed: OwnedFd = passed.ok_or_else(|| wrong("a listener is missing"))?;
    fcntl_setfd(&passed, FdFlags::CLOEXEC)?;
    let socket = socket2::Socket::from(passed);
    if !super::listens(&socket)? {
        return Err(wrong("what it passed is no listening TCP socket"));
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let file = format!("wharf-{}-{name}", std::process::id());
        std::env::temp_dir().join(file)
    }

    #[test]
    fn listeners_come_over_in_order_with_their_names() {
        let path = place("over");
        assert!(take_over(&path).unwrap().is_none(), "nobody is there");
        let offer = Offer::bind(&path).unwrap();
        offer.publish().unwrap();
        let bound = |name: &str| (name.to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
        let old = [bound("game 0"), bound("chat 0")];
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("successor".to_owned());
            let new = thread.spawn_scoped(scope, || take_over(&path).unwrap().unwrap());
            let new = new.unwrap();
            let channel = offer.wait().unwrap();
            channel.send(&old).unwrap();
            let (listeners, back) = new.join().unwrap();
            for ((name, old), (new_name, new)) in old.iter().zip(&listeners) {
                assert_eq!(name, new_name);
                assert_eq!(old.local_addr().unwrap(), new.local_addr().unwrap());
            }
            assert_eq!(listeners.len(), 2);
            back.say_ready().unwrap();
            assert!(channel.is_ready());
            drop(back);
            assert!(!channel.is_ready(), "gone");
        });
        offer.withdraw();
        assert!(!path.exists());
    }

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let offer = Offer::bind(&place("wait")).unwrap();
        offer.end();
        assert!(offer.wait().is_err());
        let made_at = offer.made_at.clone();
        drop(offer);
        assert!(!made_at.exists(), "nothing is left");
    }

    #[test]
    fn who_speaks_otherwise_is_told() {
        let path = place("other");
        let other = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("other".to_owned());
            let answer = thread.spawn_scoped(scope, || {
                let (mut stream, _) = other.accept().unwrap();
                stream.write_all(b"HTTP/1.1 400 Bad Request\n\n").unwrap();
            });
            let error = take_over(&path).unwrap_err();
            assert!(error.to_string().contains("no wharf"), "{error}");
            answer.unwrap().join().unwrap();
        });
        fs::remove_file(&path).unwrap();
    }
}
