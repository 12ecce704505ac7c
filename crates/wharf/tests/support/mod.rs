//! What the suites share: one [`World`] in which a test body runs unchanged on every backend, the
//! layouts it runs under, a handler made of closures, and a ledger that watches every callback.
//!
//! In the simulation each body runs once a seed. `WHARF_SEEDS=2000` sets how many (`WHARF_SEEDS=
//! 500..900` which), `WHARF_SEED=17` runs that one alone, with the events on stderr if it fails.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each suite uses its part of the harness"
)]
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod act;
mod backends;
mod counters;
mod crew;
mod hold;
mod layout;
mod peer;
mod process;
mod run;
mod serve;
#[cfg(feature = "sim")]
mod simulated;
mod sockets;
mod world;

pub(crate) use act::{Act, Ledger, Log};
pub(crate) use backends::{KNOWN_BACKENDS, for_backends};
pub(crate) use counters::{check_client, check_server, check_stopped};
pub(crate) use crew::{Crew, Kind, crews};
pub(crate) use hold::Hold;
pub(crate) use layout::{At, Layout, Place, Ports, Role};
pub(crate) use peer::{End, Listener, Peer};
pub(crate) use process::{Open, open_now};
pub(crate) use run::{Access, on_sockets, skipped, with_access};
#[cfg(feature = "sim")]
pub(crate) use run::{in_sim, seeds};
pub(crate) use serve::{finish, patient, serve, small_queue, small_socket};
pub(crate) use world::World;

/// One frame of the default framing: a little-endian u16 length that counts itself, the payload.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    wharf::Framing::default()
        .encode(payload, &mut wire)
        .unwrap();
    wire
}

/// A frame whose payload is this number.
pub(crate) fn numbered(n: u32) -> Vec<u8> {
    frame(&n.to_le_bytes())
}

/// The number that [`numbered`] wrote.
pub(crate) fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().unwrap())
}

/// Generates a module named like the body, with a test a backend and layout:
/// `serial_in_order::epoll::shared_port_4`. On sockets `exclusive` bodies run while no other test
/// does, so that they can count descriptors and threads.
macro_rules! matrix {
    ($($name:ident),+ $(,)?) => { $(
        $crate::support::matrix! { @backends $name, $crate::support::Access::Shared }
    )+ };
    (exclusive $($name:ident),+ $(,)?) => { $(
        $crate::support::matrix! { @backends $name, $crate::support::Access::Exclusive }
    )+ };
    (@sockets $backend:ident $name:ident, $access:expr) => {
        mod $backend {
            $crate::support::matrix! { @layouts |layout| {
                let body = super::super::$name;
                let backend = stringify!($backend);
                $crate::support::on_sockets(backend, $access, |w| body(w, layout));
            } }
        }
    };
    (@backends $name:ident, $access:expr) => {
        mod $name {
            $crate::support::for_backends! { matrix $name, $access }
            #[cfg(feature = "sim")]
            mod sim {
                $crate::support::matrix! { @layouts |layout| {
                    let body = super::super::$name;
                    $crate::support::in_sim(12, |w| body(w, layout));
                } }
            }
        }
    };
    (@layouts |$layout:ident| $run:block) => {
        $crate::support::matrix! { @layout shared_port_1, Shared(1), $layout, $run }
        $crate::support::matrix! { @layout shared_port_4, Shared(4), $layout, $run }
        $crate::support::matrix! {
            @layout port_per_network, File("port_per_network"), $layout, $run
        }
        $crate::support::matrix! { @layout shared_port, File("shared"), $layout, $run }
        $crate::support::matrix! { @layout selectively_shared, File("selective"), $layout, $run }
        $crate::support::matrix! { @layout dispatch, File("dispatch"), $layout, $run }
        $crate::support::matrix! { @layout lanes, File("lanes"), $layout, $run }
        $crate::support::matrix! { @layout dedicated, File("dedicated"), $layout, $run }
    };
    (@layout $test:ident, $variant:ident ($of:literal), $layout:ident, $run:block) => {
        #[test]
        fn $test() {
            let $layout = $crate::support::Layout::$variant($of);
            $run
        }
    };
}

/// The same without layouts, for bodies that make ports of their own:
/// `connect_to_nobody::epoll`.
macro_rules! each_backend {
    ($($name:ident),+ $(,)?) => { $(
        $crate::support::each_backend! { @one $name, $crate::support::Access::Shared }
    )+ };
    (exclusive $($name:ident),+ $(,)?) => { $(
        $crate::support::each_backend! { @one $name, $crate::support::Access::Exclusive }
    )+ };
    (@sockets $backend:ident $name:ident, $access:expr) => {
        #[test]
        fn $backend() {
            $crate::support::on_sockets(stringify!($backend), $access, super::$name);
        }
    };
    (@one $name:ident, $access:expr) => {
        mod $name {
            $crate::support::for_backends! { each_backend $name, $access }
            #[cfg(feature = "sim")]
            #[test]
            fn sim() {
                $crate::support::in_sim(60, super::$name);
            }
        }
    };
}

/// The same for bodies that only real sockets can run.
macro_rules! on_real_sockets {
    ($($name:ident),+ $(,)?) => { $(
        $crate::support::on_real_sockets! { @one $name, $crate::support::Access::Shared }
    )+ };
    (exclusive $($name:ident),+ $(,)?) => { $(
        $crate::support::on_real_sockets! { @one $name, $crate::support::Access::Exclusive }
    )+ };
    (@one $name:ident, $access:expr) => {
        mod $name {
            $crate::support::for_backends! { each_backend $name, $access }
        }
    };
}

/// The same for bodies that need the simulation: virtual time, faults, foreign addresses.
macro_rules! in_simulation {
    ($($name:ident),+ $(,)?) => { $(
        #[cfg(feature = "sim")]
        mod $name {
            #[test]
            fn sim() {
                $crate::support::in_sim(60, super::$name);
            }
        }
    )+ };
}

pub(crate) use {each_backend, in_simulation, matrix, on_real_sockets};
