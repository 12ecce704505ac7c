//! The Source RCON protocol, with which admins command game servers:
//! `RCON_PASSWORD=secret cargo run --release --example rcon 127.0.0.1:27015`
//!
//! The address is that one unless given; without `RCON_PASSWORD` a password is made up and printed.
//! Any RCON client talks to it. Commands: `help`, `status`, `echo TEXT`, `long N`.
//!
//! `packet.rs` reads and writes the packets.

mod packet;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use packet::{BODY_BYTES_MAX, Packet, framing};
use wharf::{Error, Frame, Handler, Host, Refuse, SendError, SendQueueLimits, Session};

/// Types of packets. `AUTH_RESPONSE` and `EXECCOMMAND` are one number, told apart by direction.
const AUTH: i32 = 3;
const AUTH_RESPONSE: i32 = 2;
const EXECCOMMAND: i32 = 2;
const RESPONSE_VALUE: i32 = 0;

/// The longest output of `long`: it has to fit the send queue.
const LONG_MAX: usize = 256 * 1024;
/// After so many wrong passwords in a row the session is closed.
const TRIES: u32 = 3;

/// Sends a packet, built where the frame is; the framing adds the size.
fn send(s: &Session<Rcon>, packet: &Packet<'_>) -> Result<(), SendError> {
    s.send_with(|out| {
        packet.write(out);
        Ok(())
    })
}

struct Rcon {
    password: String,
    started: Instant,
}

/// What a session keeps: nobody else can touch it, so nobody else can log it in.
#[derive(Default)]
struct Admin {
    authed: bool,
    wrong: u32,
}

impl Handler for Rcon {
    type State = Admin;

    fn on_open(&self, _: &Session<Self>) -> Result<Admin, Refuse> {
        Ok(Admin::default())
    }

    fn on_frame(&self, s: &Session<Self>, admin: &mut Admin, f: Frame<'_>) -> wharf::Result<()> {
        // An error closes the session: after bytes that are no packet there is nothing to answer.
        let packet = Packet::read(f.payload()).ok_or_else(|| {
            Error::handler("an RCON packet has an id, a type, a body and two zeros")
        })?;
        match packet.kind {
            AUTH => self.auth(s, admin, &packet),
            _ if !admin.authed => Self::answer_auth(s, -1),
            EXECCOMMAND => self.execute(s, &packet),
            RESPONSE_VALUE => Self::mirror(s, &packet),
            kind => respond(
                s,
                packet.id,
                format!("unknown packet type {kind}").as_bytes(),
            ),
        }
    }
}

impl Rcon {
    fn auth(&self, s: &Session<Self>, admin: &mut Admin, packet: &Packet<'_>) -> wharf::Result<()> {
        admin.authed = same(packet.body, self.password.as_bytes());
        // An empty value comes first; the id of the second packet says whether it worked.
        respond(s, packet.id, b"")?;
        if admin.authed {
            admin.wrong = 0;
            return Self::answer_auth(s, packet.id);
        }
        Self::answer_auth(s, -1)?;
        admin.wrong += 1;
        if admin.wrong == TRIES {
            s.close();
        }
        Ok(())
    }

    /// Also what a command without a login gets.
    fn answer_auth(s: &Session<Self>, id: i32) -> wharf::Result<()> {
        let (kind, body) = (AUTH_RESPONSE, &b""[..]);
        Ok(send(s, &Packet { id, kind, body })?)
    }

    /// A client can't see which packet is the last of a long output. So it sends an empty value of
    /// its own behind the command: replies keep their order, so once the server has sent that back
    /// (and one more packet, with this body, that clients know it by), all output has come.
    fn mirror(s: &Session<Self>, packet: &Packet<'_>) -> wharf::Result<()> {
        respond(s, packet.id, packet.body)?;
        respond(s, packet.id, &[0, 1, 0, 0])
    }

    fn execute(&self, s: &Session<Self>, packet: &Packet<'_>) -> wharf::Result<()> {
        let line = String::from_utf8_lossy(packet.body);
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let output = match command {
            // Some clients look for the end of long output with an empty command.
            "" => String::new(),
            "help" => "help, status, echo TEXT, long N".to_owned(),
            "echo" => rest.to_owned(),
            "status" => {
                let sessions = s.network().sessions().len();
                let up = self.started.elapsed().as_secs();
                format!("sessions: {sessions}\nup: {up} s")
            }
            "long" => match rest.parse() {
                Ok(n @ 1..=LONG_MAX) => "0123456789".chars().cycle().take(n).collect(),
                _ => format!("long N: N is 1 to {LONG_MAX}, not \"{rest}\""),
            },
            _ => format!("unknown command \"{command}\"; try help"),
        };
        respond(s, packet.id, output.as_bytes())
    }
}

/// Sends output in as many packets as it takes, one if there is none.
fn respond(s: &Session<Rcon>, id: i32, output: &[u8]) -> wharf::Result<()> {
    let (kind, mut rest) = (RESPONSE_VALUE, output);
    loop {
        let (body, more) = rest.split_at(rest.len().min(BODY_BYTES_MAX));
        send(s, &Packet { id, kind, body })?;
        if more.is_empty() {
            return Ok(());
        }
        rest = more;
    }
}

/// Compares without telling by its time how much was right.
fn same(given: &[u8], password: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(password)
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == password.len() && std::hint::black_box(differing) == 0
}

/// No password that everybody knows: the standard library seeds its hashers from the system.
fn made_up_password() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:27015".to_owned());
    let password = std::env::var("RCON_PASSWORD").unwrap_or_else(|_| {
        let password = made_up_password();
        println!("password: {password}");
        password
    });
    let mut host = Host::new();
    let started = Instant::now();
    let server = host
        .server("rcon", Rcon { password, started })
        .framing(framing()?)
        // A client that sends commands without reading is not read from half of it on; the longest
        // output still fits above that.
        .send_queue(SendQueueLimits {
            bytes_max: 4 * LONG_MAX,
            ..SendQueueLimits::default()
        })
        // Guessing passwords is slow with few connections at a time.
        .sessions_per_ip_max(32)
        .listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in server.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
