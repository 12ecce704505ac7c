//! A host that has nothing to do allocates nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counted.rs"]
mod counted;

use std::time::Duration;

use counted::{ALLOCATOR, Echo};
use stats_alloc::Region;
use wharf::Host;

/// The supervisor looks at all workers ten times a second.
#[test]
fn an_idle_host_allocates_nothing() {
    let mut host = Host::new();
    let server = host.server("echo", Echo).workers(2);
    let _echo = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    // Its first looks find names and lists to set up.
    std::thread::sleep(Duration::from_millis(300));
    let region = Region::new(ALLOCATOR);
    std::thread::sleep(Duration::from_millis(600));
    let change = region.change();
    assert_eq!(change.allocations + change.reallocations, 0, "{change:?}");
    host.stop().unwrap();
}
