//! A handler that needs something asynchronous: `cargo run --release --example tokio_bridge
//! 127.0.0.1:7020`, then `nc 127.0.0.1 7020` and type keys.
//!
//! The address is that one unless given. A line is a key, the reply is what the database (here a
//! pretended one, that takes its time) has for it. Callbacks are plain functions and must not wait,
//! or they keep a worker from the other sessions. So the wait happens on a tokio runtime, and its
//! result comes back with `post`, in the session's own turn. Meanwhile a guard pauses reading: the
//! next line is not handled before this one is answered, and the client's replies stay in order.

use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use wharf::{Frame, Framing, Handler, Host, Refuse, Session};

/// Stands in for a client of a real database: only `await`, no blocking.
#[derive(Clone)]
struct Database;

impl Database {
    /// The value of a key, after a time that differs from key to key.
    async fn get(&self, key: &str) -> Option<String> {
        let number: u64 = key.parse().ok()?;
        tokio::time::sleep(Duration::from_millis(number % 7)).await;
        Some(format!("{key} squared is {}", number.checked_mul(number)?))
    }
}

struct Bridge {
    runtime: Handle,
    database: Database,
}

/// How many keys a session has asked for: state that the posted job changes, without a lock.
type Asked = u64;

impl Handler for Bridge {
    type State = Asked;

    fn on_open(&self, _: &Session<Self>) -> Result<Asked, Refuse> {
        Ok(0)
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut Asked, frame: Frame<'_>) -> wharf::Result<()> {
        // The frame lies in the worker's buffer: what outlives this call is copied.
        let key = String::from_utf8_lossy(frame.payload()).into_owned();
        let (session, database) = (s.clone(), self.database.clone());
        let guard = s.pause_reading();
        // One task a session, as it is paused: tasks are bounded by `sessions_max`.
        self.runtime.spawn(async move {
            let value = database.get(&key).await;
            // The session may be over by now. Then the job is not run but dropped, and the guard,
            // which is in it, with it. It is also dropped if this task is.
            let _ = session.post(move |s, asked| {
                *asked += 1;
                let value = value.unwrap_or_else(|| format!("{key} is no small number"));
                let _ = s.send(format!("{asked}: {value}").as_bytes());
                drop(guard); // reads on: last, so that nothing comes in between
            });
        });
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:7020".to_owned());
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("database")
        .enable_time()
        .build()?;
    let bridge = Bridge {
        runtime: runtime.handle().clone(),
        database: Database,
    };
    let mut host = Host::new();
    let server = host
        .server("bridge", bridge)
        .framing(Framing::lines().with_frame_bytes_max(1024)?)
        .handshake_timeout(None)
        .listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in server.local_addrs() {
        println!("listening on {addr}");
    }
    // When this returns no session is left; then the runtime goes, with tasks that still wait.
    host.run_until_signal()
}
