//! Counters add up, or something was counted twice, or not at all.

use wharf::stats::{HostSnapshot, NetworkSnapshot};

fn get<'a>(stats: &'a HostSnapshot, network: &str) -> &'a NetworkSnapshot {
    let found = stats.network(network);
    found.unwrap_or_else(|| panic!("no network \"{network}\" in the snapshot"))
}

/// All sessions are over and nothing waits.
fn check_over(net: &NetworkSnapshot) {
    assert_eq!((net.sessions, net.sessions_live), (0, 0), "{net:#?}");
    assert_eq!(net.memory_bytes, 0, "{net:#?}");
    assert_eq!(net.opened, net.ended, "{net:#?}");
    assert_eq!(net.ended, net.closes.iter().sum::<u64>(), "{net:#?}");
    assert!(
        net.closed_unopened >= net.refused_by_handler + net.open_panicked,
        "{net:#?}"
    );
    assert!(net.panics >= net.open_panicked, "{net:#?}");
}

/// A server none of whose sessions is left.
pub(crate) fn check_server(stats: &HostSnapshot, network: &str) {
    let net = get(stats, network);
    assert!(net.is_server);
    check_over(net);
    let refused = net.refused_sessions_max
        + net.refused_per_ip
        + net.refused_connect_rate
        + net.refused_memory
        + net.refused_stopping
        + net.refused_system;
    let told = net.opened + net.closed_unopened + refused;
    assert_eq!(net.accepted, told, "{net:#?}");
    assert_eq!((net.connects, net.connects_failed), (0, 0), "{net:#?}");
}

/// A client none of whose sessions is left.
pub(crate) fn check_client(stats: &HostSnapshot, network: &str) {
    let net = get(stats, network);
    assert!(!net.is_server);
    check_over(net);
    // What is neither was stopped while it connected.
    let told = net.opened + net.connects_failed + net.refused_by_handler + net.open_panicked;
    assert!(net.connects >= told, "{net:#?}");
    assert!(
        net.connects <= net.opened + net.connects_failed + net.closed_unopened,
        "{net:#?}"
    );
    assert_eq!(net.accepted, 0, "{net:#?}");
}

/// Every network of a stopped host, whose handlers all returned.
pub(crate) fn check_stopped(stats: &HostSnapshot) {
    for net in &stats.networks {
        if net.is_server {
            check_server(stats, &net.name);
        } else {
            check_client(stats, &net.name);
        }
    }
    for port in &stats.ports {
        assert_eq!(port.queued, 0, "{}", port.name);
    }
}
