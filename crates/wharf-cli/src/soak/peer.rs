//! What the server's links connect to: echoes whatever comes, a thread a connection, on std's
//! blocking sockets. It is killed and started again, so it listens where its predecessor did.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::Builder;
use std::time::Duration;

use super::orders::{Order, Orders, tell};
use crate::args::SoakPeerArgs;
use crate::exit::Failure;

/// How long a look at the orders waits: nothing else is to be done.
const LOOK: Duration = Duration::from_secs(3600);

/// Echoes until standard input ends.
///
/// # Errors
/// It can't listen.
pub(super) fn run(args: &SoakPeerArgs) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::unreachable(format!("the peer can't listen on {}: {error}", args.listen))
    };
    let listener = TcpListener::bind(args.listen).map_err(cannot)?;
    tell("ready", &listener.local_addr().map_err(cannot)?)?;
    let accepting = Builder::new().name("soak-accept".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let echoing = Builder::new().name("soak-echo".into());
            // Without a thread the link is closed and tries again.
            drop(echoing.spawn(move || echo(stream)));
        }
    });
    accepting.map_err(|error| Failure::machine(format!("no thread to accept: {error}")))?;
    let orders = Orders::read()?;
    while !matches!(orders.next(LOOK), Order::End) {}
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 || stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
