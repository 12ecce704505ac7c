//! What each address has: its sessions, and how fast it may connect.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;

use super::bucket::{Bucket, Rate};
use crate::time::Time;

/// A limit that each peer address has for itself. An IPv6 address counts as its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerAddress<T> {
    /// No limit.
    Off,
    /// For addresses of the public internet. Loopback, private and link-local ones have no limit:
    /// behind them stand balancers, tests and local networks. The defaults are of this kind.
    Public(T),
    /// For every address. What you set yourself is of this kind.
    Every(T),
}

impl<T: Copy> PerAddress<T> {
    /// A limit for every address, or none.
    pub(crate) fn every(limit: Option<T>) -> Self {
        limit.map_or(Self::Off, Self::Every)
    }

    /// The limit, whomever it is for.
    #[must_use]
    pub fn limit(&self) -> Option<T> {
        match *self {
            Self::Off => None,
            Self::Public(limit) | Self::Every(limit) => Some(limit),
        }
    }

    /// The limit of this address.
    fn of(&self, ip: IpAddr) -> Option<T> {
        match *self {
            Self::Public(_) if !is_public(ip) => None,
            _ => self.limit(),
        }
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: what carriers use between themselves and their customers.
            let shared = a == 100 && b & 0xc0 == 64;
            let local = v4.is_loopback() || v4.is_private() || v4.is_link_local();
            !local && !shared && !v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            let local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            !local && !v6.is_unspecified()
        }
    }
}

/// A v4-mapped address is its IPv4 address; an IPv6 address counts as its network, because one
/// customer is given a /64 and can use any address in it.
fn network_of(ip: IpAddr, ipv6_prefix_bits: u8) -> IpAddr {
    match ip.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let host_bits = 128 - u32::from(ipv6_prefix_bits);
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// Sessions per address, counted only when there is a limit. At most as many addresses as the
/// network has sessions.
#[derive(Debug)]
pub(crate) struct Addresses {
    limit: PerAddress<usize>,
    ipv6_prefix_bits: u8,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    pub(crate) fn new(limit: PerAddress<usize>, ipv6_prefix_bits: u8) -> Self {
        Self {
            limit,
            ipv6_prefix_bits: ipv6_prefix_bits.min(128),
            counts: Mutex::default(),
        }
    }

    /// Counts one more session of this address; false, and not counted, beyond the limit.
    pub(crate) fn admit(&self, ip: IpAddr) -> bool {
        let Some(limit) = self.limit.of(ip) else {
            return true;
        };
        let mut counts = self.counts.lock();
        let count = counts
            .entry(network_of(ip, self.ipv6_prefix_bits))
            .or_insert(0);
        let fits = *count < limit;
        *count += usize::from(fits);
        fits
    }

    /// One session less.
    pub(crate) fn release(&self, ip: IpAddr) {
        if self.limit.of(ip).is_none() {
            return;
        }
        let key = network_of(ip, self.ipv6_prefix_bits);
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }
}

/// Addresses that share a place in the table of [`Connects`], and how many places there are. The
/// table is the whole memory, 128 KiB, however many addresses come.
const WAYS: usize = 4;
const SETS: usize = 1024;

/// How fast each address connects.
///
/// An address whose bucket is full again is as good as unknown, so only busy ones take room. When
/// more of them share a place than fit, the least busy is forgotten, and with it what it took: that
/// forgives somebody with very many addresses, whom a limit for each would not stop either, and
/// never refuses a stranger. Which addresses share a place is this process's secret.
#[derive(Debug)]
pub(crate) struct Connects {
    limit: PerAddress<Rate>,
    ipv6_prefix_bits: u8,
    secret: RandomState,
    /// [`SETS`] times [`WAYS`], once there was somebody to count.
    table: Mutex<Vec<Recent>>,
}

/// An address that connected of late.
#[derive(Clone, Copy, Debug)]
struct Recent {
    network: u128,
    bucket: Bucket,
}

impl Connects {
    pub(crate) fn new(limit: PerAddress<Rate>, ipv6_prefix_bits: u8) -> Self {
        Self {
            limit,
            ipv6_prefix_bits: ipv6_prefix_bits.min(128),
            secret: RandomState::new(),
            table: Mutex::default(),
        }
    }

    /// One more connection of this address; false if it comes too fast.
    pub(crate) fn admit(&self, ip: IpAddr, now: Time) -> bool {
        let Some(rate) = self.limit.of(ip) else {
            return true;
        };
        let network = match network_of(ip, self.ipv6_prefix_bits) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let mut table = self.table.lock();
        if table.is_empty() {
            let bucket = Bucket::full(rate, Time::ZERO);
            let network = 0;
            table.resize(SETS * WAYS, Recent { network, bucket });
        }
        let hash = self.secret.hash_one(network) % (SETS as u64);
        let first = usize::try_from(hash).unwrap_or(0) * WAYS;
        let set = &mut table[first..first + WAYS];
        for recent in &mut *set {
            recent.bucket.refill(rate, now);
        }
        let known = set.iter().position(|recent| recent.network == network);
        let at = known.unwrap_or_else(|| {
            let ways = (0..WAYS).max_by_key(|way| (set[*way].bucket.level(), WAYS - way));
            let least_busy = ways.unwrap_or(0);
            let bucket = Bucket::full(rate, now);
            set[least_busy] = Recent { network, bucket };
            least_busy
        });
        let bucket = &mut set[at].bucket;
        let fits = bucket.tokens() > 0;
        if fits {
            bucket.take(1);
        }
        fits
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
        let addresses = Addresses::new(PerAddress::Every(2), 64);
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
        let all = Addresses::new(PerAddress::Every(1), 0);
        assert!(all.admit(ip("2001:db8::1")));
        assert!(!all.admit(ip("fe80::1")));
        let each = Addresses::new(PerAddress::Every(1), 128);
        assert!(each.admit(ip("2001:db8::1")));
        assert!(each.admit(ip("2001:db8::2")));
        assert!(each.counts.lock().len() == 2);
        each.release(ip("2001:db8::2"));
        assert!(
            each.counts.lock().len() == 1,
            "an address without sessions is forgotten"
        );
    }

    #[test]
    fn a_public_limit_leaves_private_addresses_alone() {
        let addresses = Addresses::new(PerAddress::Public(1), 64);
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "172.31.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(addresses.admit(ip(private)), "{private}");
            assert!(addresses.admit(ip(private)), "{private} again");
            addresses.release(ip(private));
        }
        assert!(addresses.counts.lock().is_empty());
        for public in ["203.0.113.1", "100.128.0.1", "2001:db8::1"] {
            assert!(addresses.admit(ip(public)), "{public}");
            assert!(!addresses.admit(ip(public)), "{public} again");
        }
    }

    fn rate(per_s: u32, burst: u32) -> PerAddress<Rate> {
        PerAddress::Every(Rate { per_s, burst })
    }

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn each_network_has_a_burst_and_a_rate_of_its_own() {
        let connects = Connects::new(rate(10, 3), 64);
        let try_from = |from: &str, ms| connects.admit(ip(from), at(ms));
        let first: Vec<_> = (0..5).map(|_| try_from("2001:db8::1", 0)).collect();
        assert_eq!(first, [true, true, true, false, false]);
        assert!(!try_from("2001:db8::ffff", 0), "the same /64");
        assert!(try_from("2001:db8:0:1::1", 0));
        assert!(try_from("10.0.0.1", 0));
        assert!(!try_from("2001:db8::1", 99));
        assert!(try_from("2001:db8::1", 100));
        assert!(!try_from("2001:db8::1", 100));
    }

    #[test]
    fn a_million_addresses_take_no_more_memory_and_refuse_no_stranger() {
        let connects = Connects::new(rate(1, 2), 64);
        for n in 0..1_000_000_u32 {
            let from = IpAddr::from(n.to_be_bytes());
            assert!(connects.admit(from, at(5)), "{from} is new");
        }
        let table = connects.table.lock();
        assert_eq!((table.len(), table.capacity()), (SETS * WAYS, SETS * WAYS));
        assert!(size_of_val(&**table) <= 128 * 1024);
    }

    #[test]
    fn the_busiest_is_not_forgotten_for_others() {
        let connects = Connects::new(rate(1, 8), 64);
        let busy = ip("203.0.113.7");
        while connects.admit(busy, at(0)) {}
        // Each of them takes less than the busy one did, so each is forgotten before it.
        for n in 0..100_000_u32 {
            connects.admit(IpAddr::from((n << 8).to_be_bytes()), at(0));
        }
        assert!(!connects.admit(busy, at(0)));
    }
}
