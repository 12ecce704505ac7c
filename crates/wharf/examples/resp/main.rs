//! A Redis-like key-value server: `cargo run --release --example resp 127.0.0.1:6380`
//!
//! The address is that one unless given. `redis-cli -p 6380` talks to it, `redis-benchmark -p 6380
//! -t ping,set,get,incr,mset -c 50 -P 16` measures it, and `nc` may type `SET key "some value"`.
//!
//! - `parser.rs`: RESP2 as a framing of its own, one command a frame.
//! - `commands.rs`: what the commands do.
//! - `store.rs`: the keys, in shards.
//! - `reply.rs`: what is sent back.
//!
//! A pipeline needs nothing special: a turn handles all commands that one read has brought, and
//! their replies leave in one write.

mod commands;
mod parser;
mod reply;
mod store;

use wharf::{Frame, Framing, Handler, Host, Refuse, SendQueueLimits, Session};

use commands::Command;
use parser::{Args, COMMAND_BYTES_MAX, Resp};
use store::Store;

/// The handler: one for all sessions, so the store needs no `Arc`.
struct Redis {
    store: Store,
}

impl Handler for Redis {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        let mut args = match Args::of(&frame) {
            Ok(args) => args,
            Err(complaint) => {
                // The stream has lost its borders: say so, and close once it is said.
                reply::error(s, &format!("ERR Protocol error: {complaint}"))?;
                s.close();
                return Ok(());
            }
        };
        let count = args.len();
        let Some(name) = args.next() else {
            return Ok(()); // an empty line
        };
        match Command::find(&name) {
            Some(command) if command.takes(count) => (command.run)(self, s, args),
            Some(command) => commands::wrong_count(s, command.name),
            None => commands::unknown(s, &name, args),
        }
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:6380".to_owned());
    let mut host = Host::new();
    let store = Store::new();
    let server = host
        .server("resp", Redis { store })
        .framing(Framing::custom(Resp))
        // Room for a few of the largest values. From half of it on, a client that sends commands
        // and does not read the replies is not read either; one reply beyond it is the end.
        .send_queue(SendQueueLimits {
            bytes_max: 8 * COMMAND_BYTES_MAX,
            ..SendQueueLimits::default()
        })
        // A person may take a while before the first command.
        .handshake_timeout(None)
        .listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in server.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
