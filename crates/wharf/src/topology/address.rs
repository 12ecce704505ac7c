//! Addresses as text: whether they can be one, and whether two of them are the same place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether the address is listened on or connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Listen,
    Connect,
}

/// Why this can't be an address, as the rest of a sentence that begins with it. Names are not
/// resolved: that needs the network.
pub(super) fn check(text: &str, usage: For) -> Result<(), String> {
    if let Some(name) = text.strip_prefix("inherit:") {
        let bad = name.is_empty() || name.contains(|c: char| c == ':' || c.is_control());
        return match usage {
            For::Listen if bad => Err("has no name; write inherit:NAME, as the service manager \
                                       calls the socket"
                .to_owned()),
            For::Listen => Ok(()),
            For::Connect => Err("can't be connected to; a listener is inherited".to_owned()),
        };
    }
    let (host, port) = split(text)?;
    if usage == For::Connect {
        if port == 0 {
            return Err("has port 0, which nobody listens on; write the server's".to_owned());
        }
        if ip_of(host).is_some_and(|ip| ip.is_unspecified()) {
            let why = "means \"every address of this machine\", which can't be connected to; write \
                       the server's, or 127.0.0.1 for this machine";
            return Err(why.to_owned());
        }
    }
    Ok(())
}

const UNBRACKETED: &str = "is IPv6, which stands in brackets before the port, as in \"[::1]:7777\"";

/// Host and port number.
fn split(text: &str) -> Result<(&str, u16), String> {
    if text.trim() != text {
        return Err("has blanks around it; remove them".to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!(
            "is a URL; write host:port alone: {:?}",
            rest.trim_end_matches('/')
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(UNBRACKETED.to_owned());
    }
    let Some((host, port)) = text
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'))
    else {
        return Err(format!(
            "has no port; write host:port, as in \"{text}:7777\""
        ));
    };
    if host.is_empty() || host == "*" {
        return Err(format!(
            "has no host; write \"0.0.0.0:{port}\" for every address"
        ));
    }
    let Ok(number) = port.parse::<u16>() else {
        let why = if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() {
            "ports end at 65535"
        } else {
            "a port is a number, as in \"127.0.0.1:7777\""
        };
        return Err(format!("has the port {port:?}; {why}"));
    };
    check_host(host)?;
    Ok((host, number))
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let with_scope = format!("[{inner}]:1");
        return match with_scope.parse::<SocketAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "has the host \"[{inner}]\", which is no IPv6 address"
            )),
        };
    }
    if host.contains(':') {
        return Err(UNBRACKETED.to_owned());
    }
    let numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("has the host \"{host}\", which is no IPv4 address"));
    }
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match host.chars().find(|&c| !letter(c)) {
        Some(wrong) => Err(format!(
            "has a host with {wrong:?} in it, which no name has"
        )),
        None => Ok(()),
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or(bare);
    bare.parse().ok()
}

/// Whether two addresses to listen on can't both be bound: the same port on the same address, or on
/// one that the other includes. An IPv6 wildcard takes IPv4 too.
pub(super) fn collide(one: &str, other: &str) -> bool {
    // Nearly all differ in this, and it is cheap to see.
    let port = |text: &str| text.rsplit(':').next()?.parse::<u16>().ok();
    if port(one) != port(other) {
        return false;
    }
    let (Ok((host, port)), Ok((other_host, other_port))) = (split(one), split(other)) else {
        return false;
    };
    if port != other_port || port == 0 {
        return false;
    }
    let (ips, other_ips) = (ips_of(host), ips_of(other_host));
    match (ips.as_slice(), other_ips.as_slice()) {
        ([], _) | (_, []) => {
            // A name that only the network can resolve: equal, or beside a wildcard.
            let wild = ips.iter().chain(&other_ips).any(IpAddr::is_unspecified);
            wild || host.eq_ignore_ascii_case(other_host)
        }
        (ips, others) => ips
            .iter()
            .any(|ip| others.iter().any(|other| overlap(*ip, *other))),
    }
}

/// The addresses that a host surely stands for.
fn ips_of(host: &str) -> Vec<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    ip_of(host)
        .map(|ip| ip.to_canonical())
        .into_iter()
        .collect()
}

fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let includes = |wild: IpAddr, ip: IpAddr| match wild {
        IpAddr::V4(wild) => wild.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(wild) => wild.is_unspecified(),
    };
    one == other || includes(one, other) || includes(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address_is_taken() {
        for text in [
            "0.0.0.0:7777",
            "127.0.0.1:0",
            "[::]:7777",
            "[fe80::1%2]:80",
            "localhost:1",
            "game-1.example.org:65535",
            "host_name:80",
            "inherit:game",
            "inherit:game server-1.socket",
        ] {
            assert_eq!(check(text, For::Listen), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_apart() {
        for (text, why) in [
            ("0.0.0.0", "no port"),
            ("", "no port"),
            (":7777", "no host"),
            ("*:80", "no host"),
            ("a:b", "a port is a number"),
            ("a:", "a port is a number"),
            ("a:65536", "end at 65535"),
            ("::1", "in brackets"),
            ("::g:80", "in brackets"),
            ("[::1]", "no port"),
            ("[1]:80", "no IPv6 address"),
            ("1.2.3:80", "no IPv4 address"),
            ("256.1.1.1:80", "no IPv4 address"),
            ("tcp://a:80/", "write host:port alone: \"a:80\""),
            (" a:80", "blanks"),
            ("a b:80", "' '"),
            ("inherit:", "has no name"),
            ("inherit:a:80", "has no name"),
        ] {
            let said = check(text, For::Listen).unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
        assert!(check("inherit:game", For::Connect).is_err());
        assert!(check("0.0.0.0:80", For::Connect).is_err());
        assert!(check("10.0.0.1:0", For::Connect).is_err());
    }

    #[test]
    fn wildcards_and_names_collide_with_what_they_include() {
        for (one, other, same) in [
            ("0.0.0.0:7777", "127.0.0.1:7777", true),
            ("[::]:7777", "0.0.0.0:7777", true),
            ("[::]:7777", "10.0.0.1:7777", true),
            ("0.0.0.0:7777", "[::1]:7777", false),
            ("localhost:7777", "127.0.0.1:7777", true),
            ("localhost:7777", "[::1]:7777", true),
            ("[::ffff:10.0.0.1]:7777", "10.0.0.1:7777", true),
            ("Game.example:7777", "game.example:7777", true),
            ("game.example:7777", "0.0.0.0:7777", true),
            ("game.example:7777", "chat.example:7777", false),
            ("127.0.0.1:7777", "127.0.0.1:07777", true),
            ("127.0.0.1:7777", "127.0.0.1:7778", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("10.0.0.1:80", "10.0.0.2:80", false),
            ("inherit:game", "inherit:chat", false),
        ] {
            assert_eq!(collide(one, other), same, "{one} {other}");
            assert_eq!(collide(other, one), same, "{other} {one}");
        }
    }
}
