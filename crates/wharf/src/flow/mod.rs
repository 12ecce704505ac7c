//! The data path, one file a step, in this order:
//!
//! ```text
//!            port/  (the only OS code)          flow/  (one file a step)                yours
//! listener ─▶ ready ───────────────▶ accept.rs   a connection becomes a session, or a refusal
//! connect  ─▶ ready ───────────────▶ connect.rs  a link's connect becomes a session, or a retry
//! socket   ─▶ ready ─▶ lane ─▶ turn: turn.rs     one worker serves one session once:
//!                                    recv.rs     bytes into THE WORKER'S buffer
//!                                    decode.rs   frames borrowed from it; a partial tail is kept
//!                                    handle.rs   ────────────────────────────────▶ Handler
//!                                    enqueue.rs  frames join send queues         ◀── session.send
//! socket   ◀─ one gathered write ◀── flush.rs    all that the turn queued, one write a session
//!                                    tick.rs     or held until the tick's flush
//! socket   ─▶ ready ───────────────▶ flush.rs    a partial write resumes when there is room
//!                                    close.rs    one on_close; flush, end, drain, free
//! ```

mod accept;
mod close;
mod connect;
mod decode;
mod enqueue;
mod flush;
mod handle;
mod rate;
mod recv;
mod tick;
mod turn;

pub(crate) use accept::Listener;
