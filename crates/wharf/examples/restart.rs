//! An echo server that is replaced while it serves: start it, then start it again with the same
//! arguments. The new process takes the listener, the old one accepts no more, serves its sessions
//! until they leave, at most a minute long, and ends. No connect is refused meanwhile.
//!
//! ```sh
//! mkdir -p /tmp/restart
//! cargo run --release --example restart -- 127.0.0.1:7000 /tmp/restart/socket
//! ```
//! Under systemd, with a `.socket` unit that has `FileDescriptorName=echo`, give `inherit` in place
//! of the address: then the listener outlives even a crash.
#![expect(clippy::print_stdout, reason = "an example tells where it listens")]

use std::time::Duration;

use wharf::{Frame, Handler, Host, Refuse, Session};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

fn main() -> wharf::Result<()> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let mut host = Host::new();
    host.stop_on_signal()?;
    if let Some(path) = args.next()
        && host.hand_over_at(path, Duration::from_secs(60))?
    {
        println!("took the listener over");
    }
    let server = host.server("echo", Echo);
    let echo = match listen.as_str() {
        "inherit" => server.listen_inherited("echo")?,
        addr => server.listen(addr)?,
    };
    host.start()?;
    for addr in echo.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
