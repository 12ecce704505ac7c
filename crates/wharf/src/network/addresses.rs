//! How many sessions each address has: the limit per client behind one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;

/// Sessions per address, counted only when there is a limit.
#[derive(Debug)]
pub(crate) struct Addresses {
    limit: Option<usize>,
    ipv6_prefix_bits: u8,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    pub(crate) fn new(limit: Option<usize>, ipv6_prefix_bits: u8) -> Self {
        Self {
            limit,
            ipv6_prefix_bits: ipv6_prefix_bits.min(128),
            counts: Mutex::default(),
        }
    }

    /// Counts one more session of this address; false, and not counted, beyond the limit.
    pub(crate) fn admit(&self, ip: IpAddr) -> bool {
        let Some(limit) = self.limit else { return true };
        let mut counts = self.counts.lock();
        let count = counts.entry(self.key(ip)).or_insert(0);
        let fits = *count < limit;
        *count += usize::from(fits);
        fits
    }

    /// One session less.
    pub(crate) fn release(&self, ip: IpAddr) {
        if self.limit.is_none() {
            return;
        }
        let key = self.key(ip);
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }

    /// A v4-mapped address is its IPv4 address; an IPv6 address counts as its network, because one
    /// customer is given a /64 and can use any address in it.
    fn key(&self, ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => {
                let host_bits = 128 - u32::from(self.ipv6_prefix_bits);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn mapped_addresses_and_networks_count_as_one() {
        let addresses = Addresses::new(Some(2), 64);
        assert!(addresses.admit(ip("10.0.0.1")));
        assert!(addresses.admit(ip("::ffff:10.0.0.1")));
        assert!(!addresses.admit(ip("10.0.0.1")));
        addresses.release(ip("::ffff:10.0.0.1"));
        assert!(addresses.admit(ip("10.0.0.1")));
        assert!(addresses.admit(ip("2001:db8::1")));
        assert!(addresses.admit(ip("2001:db8::ffff:1")));
        assert!(!addresses.admit(ip("2001:db8::2")));
        assert!(addresses.admit(ip("2001:db8:0:1::1")), "another /64");
    }

    #[test]
    fn the_prefix_is_settable_from_all_to_one_address() {
        let all = Addresses::new(Some(1), 0);
        assert!(all.admit(ip("2001:db8::1")));
        assert!(!all.admit(ip("fe80::1")));
        let each = Addresses::new(Some(1), 128);
        assert!(each.admit(ip("2001:db8::1")));
        assert!(each.admit(ip("2001:db8::2")));
        assert!(each.counts.lock().len() == 2);
        each.release(ip("2001:db8::2"));
        assert!(
            each.counts.lock().len() == 1,
            "an address without sessions is forgotten"
        );
    }
}
