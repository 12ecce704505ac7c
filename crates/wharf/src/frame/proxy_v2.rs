//! The PROXY protocol, version 2: what a load balancer writes in front of a connection's bytes to
//! tell whom it connects.
//!
//! Written after section 2.2 of <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//! Version 1, the text line, is refused. The TLVs that may follow the addresses are skipped unread,
//! the CRC-32C among them: TCP has its own checksum.
//!
//! The header is only worth what its sender is: listen for it on addresses that nobody but the
//! proxy can reach, or anybody may claim any address.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stands in front of every header.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses: signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// The largest header accepted, in bytes. The protocol promises that a header is always smaller
/// than a TCP segment: this is the one of Ethernet (1500 bytes less 40 of IPv4 and TCP).
pub const HEADER_BYTES_MAX: usize = 1460;

/// What the bytes at the front of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// A header that has not come in full.
    Partial {
        /// Bytes that the header has in all at least: more than were given, at most
        /// [`HEADER_BYTES_MAX`].
        needed: usize,
    },
    /// A whole header; the peer's own bytes follow it.
    Header {
        /// Bytes of the header.
        len: usize,
        /// The client behind the proxy. `None` if the proxy speaks for itself (a health check) or
        /// relays something that has no IP address: the socket's own address counts then.
        source: Option<SocketAddr>,
        /// The address that the client connected to; `None` as for `source`.
        destination: Option<SocketAddr>,
    },
}

/// Why the bytes are no header of version 2. The connection has to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The first bytes are not the signature: the peer is no proxy, or does not send the header.
    NoSignature,
    /// A header of version 1, the text line.
    Version1,
    /// A version other than 2.
    Version(u8),
    /// A command other than LOCAL (0) and PROXY (1).
    Command(u8),
    /// An address family and transport that the protocol does not know.
    Family(u8),
    /// Fewer address bytes than the family has.
    AddressCut {
        /// Bytes after the fixed part, by the header's length.
        bytes: usize,
        /// Bytes of this family's addresses.
        needed: usize,
    },
    /// A header of more than [`HEADER_BYTES_MAX`] bytes.
    TooLong {
        /// Bytes of the header by its length.
        claimed: usize,
    },
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WHAT: &str = "PROXY protocol v2 header";
        match self {
            Self::NoSignature => write!(
                f,
                "the connection does not begin with a {WHAT}: switch it on at the proxy \
                 (haproxy: send-proxy-v2), or off for this network"
            ),
            Self::Version1 => write!(
                f,
                "the connection begins with a PROXY protocol v1 line: set the proxy to version 2 \
                 (haproxy: send-proxy-v2 in place of send-proxy)"
            ),
            Self::Version(version) => write!(
                f,
                "{WHAT}: byte 12 says version {version}, known is 2: set the proxy to version 2"
            ),
            Self::Command(command) => write!(
                f,
                "{WHAT}: byte 12 says command {command}, known are 0 (LOCAL) and 1 (PROXY): the \
                 peer breaks the protocol"
            ),
            Self::Family(family) => write!(
                f,
                "{WHAT}: byte 13 says family and transport {family:#04x}, known are families 0 to \
                 3 with transports 0 to 2: the peer breaks the protocol"
            ),
            Self::AddressCut { bytes, needed } => write!(
                f,
                "{WHAT}: bytes 14 and 15 say that {bytes} bytes follow, but the addresses have \
                 {needed}: the peer breaks the protocol"
            ),
            Self::TooLong { claimed } => write!(
                f,
                "{WHAT} of {claimed} bytes is over the limit of {HEADER_BYTES_MAX}: let the proxy \
                 send fewer TLVs (certificates, for instance)"
            ),
        }
    }
}

impl Error for ProxyError {}

/// Reads the header at the front of `bytes`, the first bytes of a connection.
///
/// Bytes that can't become a header are refused as soon as they show it. Never allocates.
///
/// ```
/// use wharf::frame::proxy_v2::{Proxy, SIGNATURE, parse};
///
/// let mut bytes = SIGNATURE.to_vec();
/// bytes.extend([0x21, 0x11, 0, 12]); // version 2, PROXY; TCP over IPv4; 12 bytes follow
/// bytes.extend([192, 0, 2, 1, 198, 51, 100, 7]); // source, destination
/// bytes.extend([0xC0, 0x00, 0x1E, 0x61]); // their ports, big-endian
/// assert_eq!(parse(&bytes[..20]), Ok(Proxy::Partial { needed: 28 }));
/// let header = Proxy::Header {
///     len: 28,
///     source: Some("192.0.2.1:49152".parse()?),
///     destination: Some("198.51.100.7:7777".parse()?),
/// };
/// assert_eq!(parse(&bytes), Ok(header));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
///
/// # Errors
///
/// [`ProxyError`] if the bytes are anything else than (the begin of) a header of version 2.
pub fn parse(bytes: &[u8]) -> Result<Proxy, ProxyError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        if bytes
            .iter()
            .zip(&SIGNATURE)
            .any(|(got, wanted)| got != wanted)
        {
            return Err(no_signature(bytes));
        }
        return Ok(Proxy::Partial {
            needed: FIXED_BYTES,
        });
    };
    if !fixed.starts_with(&SIGNATURE) {
        return Err(no_signature(bytes));
    }
    let [.., version_command, family, len_high, len_low] = *fixed;
    if version_command >> 4 != 2 {
        return Err(ProxyError::Version(version_command >> 4));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        command => return Err(ProxyError::Command(command)),
    };
    let block_len = usize::from(u16::from_be_bytes([len_high, len_low]));
    let len = FIXED_BYTES + block_len;
    if len > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong { claimed: len });
    }
    // LOCAL: the family is to be ignored, whatever it says.
    if !local {
        let needed = address_bytes(family)?;
        if block_len < needed {
            return Err(ProxyError::AddressCut {
                bytes: block_len,
                needed,
            });
        }
    }
    let Some(block) = rest.get(..block_len) else {
        return Ok(Proxy::Partial { needed: len });
    };
    let addresses = if local {
        None
    } else {
        addresses(family, block)
    };
    let (source, destination) = addresses.unzip();
    Ok(Proxy::Header {
        len,
        source,
        destination,
    })
}

/// Bytes that the addresses of a family have at least, if the protocol knows the family.
fn address_bytes(family: u8) -> Result<usize, ProxyError> {
    match (family >> 4, family & 0x0f) {
        // "Unspecified" of either kind: the block is to be ignored.
        (0, 0..=2) | (1..=3, 0) => Ok(0),
        (1, 1 | 2) => Ok(2 * (4 + 2)),
        (2, 1 | 2) => Ok(2 * (16 + 2)),
        (3, 1 | 2) => Ok(2 * 108),
        _ => Err(ProxyError::Family(family)),
    }
}

/// Source and destination, if the family has IP addresses.
fn addresses(family: u8, block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        0x11 | 0x12 => {
            let (source, rest) = take::<4>(block)?;
            let (destination, rest) = take::<4>(rest)?;
            with_ports(
                Ipv4Addr::from(source).into(),
                Ipv4Addr::from(destination).into(),
                rest,
            )
        }
        0x21 | 0x22 => {
            let (source, rest) = take::<16>(block)?;
            let (destination, rest) = take::<16>(rest)?;
            with_ports(
                Ipv6Addr::from(source).into(),
                Ipv6Addr::from(destination).into(),
                rest,
            )
        }
        _ => None,
    }
}

fn with_ports(
    source: IpAddr,
    destination: IpAddr,
    rest: &[u8],
) -> Option<(SocketAddr, SocketAddr)> {
    let (source_port, rest) = take::<2>(rest)?;
    let (destination_port, _) = take::<2>(rest)?;
    Some((
        SocketAddr::new(source, u16::from_be_bytes(source_port)),
        SocketAddr::new(destination, u16::from_be_bytes(destination_port)),
    ))
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes
        .split_first_chunk::<N>()
        .map(|(taken, rest)| (*taken, rest))
}

#[cold]
fn no_signature(bytes: &[u8]) -> ProxyError {
    let v1 = b"PROXY ";
    // Five letters tell enough, and no signature byte has matched.
    if bytes.len() >= 5 && bytes.iter().zip(v1).all(|(got, wanted)| got == wanted) {
        return ProxyError::Version1;
    }
    ProxyError::NoSignature
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes
    }

    fn ipv6_block() -> Vec<u8> {
        let mut block = Vec::new();
        block.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        block.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        block.extend([0x04, 0xD2, 0x16, 0x2E]);
        block
    }

    #[test]
    fn an_ipv6_header_gives_both_addresses() {
        for family in [0x21, 0x22] {
            let bytes = header(0x21, family, &ipv6_block());
            let parsed = parse(&bytes).unwrap();
            assert_eq!(
                parsed,
                Proxy::Header {
                    len: 52,
                    source: Some("[2001:db8::1]:1234".parse().unwrap()),
                    destination: Some("[2001:db8::2]:5678".parse().unwrap()),
                }
            );
        }
    }

    #[test]
    fn tlvs_and_the_peers_own_bytes_are_left_alone() {
        let mut block = vec![10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2];
        block.extend([0x04, 0x00, 0x02, 0xAA, 0xBB]); // NOOP of two bytes
        block.extend([0x02, 0xFF]); // a cut TLV
        let mut bytes = header(0x21, 0x11, &block);
        let len = bytes.len();
        bytes.extend(b"hello");
        let Proxy::Header {
            len: parsed,
            source,
            ..
        } = parse(&bytes).unwrap()
        else {
            panic!("a whole header")
        };
        assert_eq!(parsed, len);
        assert_eq!(source, Some("10.0.0.1:1".parse().unwrap()));
    }

    #[test]
    fn what_has_no_ip_address_gives_none() {
        let none = |len| {
            Ok(Proxy::Header {
                len,
                source: None,
                destination: None,
            })
        };
        // LOCAL, with nothing, with a family that is none, and with an address block
        assert_eq!(parse(&header(0x20, 0x00, b"")), none(16));
        assert_eq!(parse(&header(0x20, 0xFF, b"abc")), none(19));
        assert_eq!(parse(&header(0x20, 0x21, &ipv6_block())), none(52));
        // UNSPEC of either kind
        assert_eq!(parse(&header(0x21, 0x00, b"abc")), none(19));
        assert_eq!(parse(&header(0x21, 0x10, b"")), none(16));
        // unix
        assert_eq!(parse(&header(0x21, 0x31, &[b'/'; 216])), none(232));
    }

    #[test]
    fn every_cut_is_partial_and_needs_more() {
        let bytes = header(0x21, 0x21, &ipv6_block());
        for cut in 0..bytes.len() {
            let needed = if cut < 16 { 16 } else { 52 };
            assert_eq!(
                parse(&bytes[..cut]),
                Ok(Proxy::Partial { needed }),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn garbage_is_refused_at_its_first_byte() {
        assert_eq!(parse(b"G"), Err(ProxyError::NoSignature));
        assert_eq!(parse(b"\r\n\r\nX"), Err(ProxyError::NoSignature));
        assert_eq!(parse(&[0; 64]), Err(ProxyError::NoSignature));
        assert_eq!(
            parse(b"\r\n\r\n\0\r\nQUIT\r!!!"),
            Err(ProxyError::NoSignature)
        );
    }

    #[test]
    fn version_1_is_told_apart() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
        assert_eq!(parse(line), Err(ProxyError::Version1));
        assert_eq!(parse(&line[..8]), Err(ProxyError::Version1));
        assert!(ProxyError::Version1.to_string().contains("version 2"));
    }

    #[test]
    fn unknown_versions_commands_and_families_are_refused() {
        assert_eq!(
            parse(&header(0x11, 0x11, &[0; 12])),
            Err(ProxyError::Version(1))
        );
        assert_eq!(
            parse(&header(0x31, 0x11, &[0; 12])),
            Err(ProxyError::Version(3))
        );
        assert_eq!(
            parse(&header(0x22, 0x11, &[0; 12])),
            Err(ProxyError::Command(2))
        );
        for family in [0x03, 0x13, 0x23, 0x33, 0x40, 0x41, 0xFF] {
            let parsed = parse(&header(0x21, family, &[0; 216]));
            assert_eq!(parsed, Err(ProxyError::Family(family)));
        }
    }

    #[test]
    fn lying_lengths_are_refused_before_their_bytes_come() {
        for (family, needed) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x31, 216)] {
            let bytes = header(0x21, family, &vec![0; needed - 1]);
            let cut = ProxyError::AddressCut {
                bytes: needed - 1,
                needed,
            };
            assert_eq!(parse(&bytes), Err(cut));
            assert_eq!(parse(&bytes[..16]), Err(cut));
        }
        let longest = header(0x20, 0, &[0; HEADER_BYTES_MAX - 16]);
        assert!(matches!(
            parse(&longest),
            Ok(Proxy::Header {
                len: HEADER_BYTES_MAX,
                ..
            })
        ));
        let too_long = header(0x20, 0, &[0; HEADER_BYTES_MAX - 15]);
        let error = ProxyError::TooLong {
            claimed: HEADER_BYTES_MAX + 1,
        };
        assert_eq!(parse(&too_long[..16]), Err(error));
    }
}
