//! An example as a process of its own: started, talked to, asked to end.
#![allow(clippy::unwrap_used, reason = "a test: what can't be done fails it")]
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// No step of a test takes longer, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Names a program that starts another one and, when its own input ends, presses Ctrl-C for it,
/// because no safe call of Windows does. `cargo xtask windows` has one.
const OPERATOR: &str = "WHARF_TEST_OPERATOR";

/// A running example. Dropped, it is killed.
pub(crate) struct Example {
    child: Child,
    addr: SocketAddr,
    operator: Option<ChildStdin>,
}

/// Where a whole `cargo test` has built an example: beside the directory of this test.
pub(crate) fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    assert!(
        path.exists(),
        "{} is not there: a whole cargo test builds it; before one of named tests, run \
         cargo build --examples",
        path.display()
    );
    path
}

impl Example {
    /// Starts it on a free port of the loopback and waits until it listens.
    pub(crate) fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let operator = std::env::var_os(OPERATOR);
        let (mut command, stdin) = match &operator {
            Some(operator) => (Command::new(operator), Stdio::piped()),
            None => (Command::new(path(name)), Stdio::null()),
        };
        let mut child = command
            .args(operator.is_some().then(|| path(name)))
            .arg("127.0.0.1:0")
            .args(args)
            .envs(env.iter().copied())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let operator = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = sync_channel(1);
        std::thread::Builder::new()
            .name(format!("{name}-stdout"))
            .spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    if let Some(addr) = line.strip_prefix("listening on ") {
                        let _ = tell.try_send(addr.parse().unwrap());
                    }
                }
            })
            .unwrap();
        let addr = told.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let _ = child.kill();
            panic!(
                "{name} never said where it listens: {error}; {:?}",
                child.wait()
            )
        });
        Self {
            child,
            addr,
            operator,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer(stream)
    }

    /// Asks it to end as an operator does; false if there is no way to, and it was killed.
    pub(crate) fn terminate(&mut self) -> bool {
        if let Some(operator) = self.operator.take() {
            drop(operator);
            return true;
        }
        if cfg!(windows) {
            let skipped = format!("skipped: the end of an example: {OPERATOR} names no program\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            self.child.kill().unwrap();
            return false;
        }
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(kill.success(), "kill -TERM {pid}: {kill}");
        true
    }

    /// Has it end, and holds it to ending well.
    pub(crate) fn stop(mut self) {
        if self.terminate() {
            self.ended();
        }
    }

    /// Waits for its end, and holds it to ending well.
    pub(crate) fn ended(mut self) {
        let status = wait(&mut self.child);
        assert!(status.success(), "ended with {status}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // In vain if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("no end within {PATIENCE:?}: {:?}", child.wait());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program to its end, within [`PATIENCE`]. Its output has to fit a pipe.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// A connection to an example.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads what must come next.
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let (bytes, mut come) = (bytes.as_ref(), Vec::new());
        while come.len() < bytes.len() && bytes.starts_with(&come) {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => come.extend(byte),
                end => panic!("{:?} ends with {end:?}", String::from_utf8_lossy(&come)),
            }
        }
        assert_eq!(
            String::from_utf8_lossy(&come),
            String::from_utf8_lossy(bytes)
        );
    }

    /// A line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.read(1));
        }
        line.pop();
        String::from_utf8(line).unwrap()
    }

    /// All until the example ends the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}
