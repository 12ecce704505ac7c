//! What the programs that count allocations have in common. Each has one test and no other, because
//! they count over the whole process, and the harness of the tests allocates when one has ended.
#![allow(dead_code, reason = "each program uses its part")]

use std::alloc::System;
use std::net::TcpStream;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use wharf::{Frame, Handler, Network, Refuse, Session};

#[global_allocator]
pub(crate) static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

pub(crate) struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

pub(crate) fn connect(net: &Network<Echo>) -> TcpStream {
    let peer = TcpStream::connect(net.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.set_nodelay(true).unwrap();
    peer
}
