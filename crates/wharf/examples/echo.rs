//! The shortest complete server: `cargo run --release --example echo 127.0.0.1:7000`
//!
//! Frames are what `wharf load` sends: a little-endian u16 length that counts itself, then bytes.

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

fn main() -> wharf::Result<()> {
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let mut host = Host::new();
    host.server("echo", Echo).listen(addr)?;
    host.run_until_signal()
}
