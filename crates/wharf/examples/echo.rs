//! The shortest complete server: `cargo run --release --example echo 127.0.0.1:7000`
//!
//! The address is that one unless given. Frames are what `wharf load` sends: a little-endian u16
//! length that counts itself, then bytes.

use wharf::{Frame, Handler, Host, Refuse, Session};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let mut host = Host::new();
    let echo = host.server("echo", Echo).listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in echo.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
