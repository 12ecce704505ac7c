//! PROXY protocol v2 headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wharf::frame::proxy_v2::{HEADER_BYTES_MAX, Proxy, ProxyError, SIGNATURE, parse};

/// The bytes of a connection. To be found quickly by mutation, the signature may be said by one
/// byte: a first byte of 0 stands for it.
pub fn proxy(bytes: &[u8]) {
    let mut stream = Vec::new();
    match bytes.split_first() {
        Some((0, rest)) => {
            stream.extend_from_slice(&SIGNATURE);
            stream.extend_from_slice(rest);
        }
        _ => stream.extend_from_slice(bytes),
    }
    let whole = parse(&stream);
    assert_eq!(whole, plain(&stream));
    let mut decided = None;
    for len in 0..=stream.len() {
        let answer = parse(&stream[..len]);
        match answer {
            Ok(Proxy::Partial { needed }) => {
                assert!(len < needed && needed <= HEADER_BYTES_MAX);
                assert_eq!(decided, None, "decided, and undecided again at {len}");
                if let Ok(Proxy::Header { len, .. }) = whole {
                    assert!(needed <= len, "waits for the peer's own bytes");
                }
            }
            answer => {
                if let Err(error) = answer {
                    assert!(!error.to_string().is_empty());
                }
                let first = decided.get_or_insert_with(|| answer.clone());
                // More bytes may tell version 1 from other garbage, and nothing else.
                if *first != Err(ProxyError::NoSignature) {
                    assert_eq!(*first, answer, "at {len}");
                }
            }
        }
    }
}

/// The same, by the letter of the protocol.
fn plain(bytes: &[u8]) -> Result<Proxy, ProxyError> {
    let shown = bytes.len().min(SIGNATURE.len());
    if bytes[..shown] != SIGNATURE[..shown] {
        if bytes.len() >= 5 && (bytes.starts_with(b"PROXY ") || bytes == b"PROXY") {
            return Err(ProxyError::Version1);
        }
        return Err(ProxyError::NoSignature);
    }
    if bytes.len() < 16 {
        return Ok(Proxy::Partial { needed: 16 });
    }
    let (version, command) = (bytes[12] / 16, bytes[12] % 16);
    let family = bytes[13];
    let block = usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    let len = 16 + block;
    if version != 2 {
        return Err(ProxyError::Version(version));
    }
    if command > 1 {
        return Err(ProxyError::Command(command));
    }
    if len > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong { claimed: len });
    }
    let mut sizes = (0, 0);
    if command == 1 {
        if family / 16 > 3 || family % 16 > 2 {
            return Err(ProxyError::Family(family));
        }
        if !family.is_multiple_of(16) {
            sizes = [(0, 0), (12, 4), (36, 16), (216, 0)][usize::from(family / 16)];
        }
    }
    let (needed, ip) = sizes;
    if block < needed {
        let bytes = block;
        return Err(ProxyError::AddressCut { bytes, needed });
    }
    if bytes.len() < len {
        return Ok(Proxy::Partial { needed: len });
    }
    let addr = |nth: usize| {
        let at = 16 + nth * ip;
        let octets = &bytes[at..at + ip];
        let port = 16 + 2 * ip + 2 * nth;
        let port = u16::from(bytes[port]) * 256 + u16::from(bytes[port + 1]);
        let ip = match <[u8; 4]>::try_from(octets) {
            Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
        };
        Some(SocketAddr::new(ip, port))
    };
    Ok(Proxy::Header {
        len,
        source: if ip > 0 { addr(0) } else { None },
        destination: if ip > 0 { addr(1) } else { None },
    })
}
