//! Which folder may use which: the arrows of ARCHITECTURE.md, as a table.

use super::paths::{self, NamedPath};
use super::{Finding, Repo};

/// The crate whose folders the table names.
const CRATE_SRC: &str = "crates/wharf/src/";

/// What the files under `folder` may not use. Test code is free.
struct Arrow {
    /// A path prefix under [`CRATE_SRC`].
    folder: &'static str,
    /// If given: of the crate's own modules only these.
    only: Option<&'static [&'static str]>,
    /// None of these, nor anything in them.
    never: &'static [&'static str],
}

/// What does I/O or starts threads. Addresses are only numbers: they are free.
const IO_AND_THREADS: &[&str] = &[
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::net::*",
    "std::fs",
    "std::thread",
    "socket2",
    "rustix",
];

const ARROWS: &[Arrow] = &[
    Arrow {
        folder: "frame/",
        only: Some(&["crate::error", "crate::frame"]),
        never: IO_AND_THREADS,
    },
    Arrow {
        folder: "sched/",
        only: Some(&["crate::sched", "crate::sync", "crate::time"]),
        never: IO_AND_THREADS,
    },
    Arrow {
        folder: "limits/",
        only: Some(&["crate::limits", "crate::time"]),
        never: IO_AND_THREADS,
    },
    Arrow {
        folder: "topology/",
        // Of networks and sessions only their options.
        only: Some(&[
            "crate::error",
            "crate::frame",
            "crate::limits",
            "crate::network",
            "crate::session",
            "crate::topology",
        ]),
        never: IO_AND_THREADS,
    },
    Arrow {
        folder: "port/",
        only: None,
        never: &["crate::flow", "crate::network", "crate::host"],
    },
    Arrow {
        folder: "strand/",
        only: None,
        never: &["crate::flow", "crate::network", "crate::host"],
    },
];

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo.sources() {
        let Some(inside) = source.path.strip_prefix(CRATE_SRC) else {
            continue;
        };
        for arrow in ARROWS
            .iter()
            .filter(|arrow| inside.starts_with(arrow.folder))
        {
            let paths = paths::of(source);
            // A name that a `use` brought in is reported where it came in.
            for path in paths
                .iter()
                .filter(|p| !p.by_import && !source.is_test(p.line))
            {
                let Some(why) = arrow.breaks(path) else {
                    continue;
                };
                found.push(Finding {
                    path: source.path.clone(),
                    line: path.line,
                    what: format!("{} uses `{}`", arrow.folder, path.segments.join("::")),
                    why,
                    mend: "hand it in as an argument or a trait, or move the code \
                           (the table: xtask/src/tidy/arrows.rs)",
                });
            }
        }
    }
}

impl Arrow {
    /// Why this path may not stand under the folder; `None` if it may.
    fn breaks(&self, path: &NamedPath) -> Option<&'static str> {
        if self.never.iter().any(|head| path.starts_with(head)) {
            return Some("this folder must not depend on it");
        }
        let only = self
            .only
            .filter(|_| path.segments.len() > 1 && path.starts_with("crate"))?;
        let outside = !only.iter().any(|head| path.starts_with(head));
        outside.then_some("this folder uses only the modules that the table names")
    }
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    fn at(file: &str, text: &str) -> Vec<String> {
        places(check, &[(&format!("{CRATE_SRC}{file}"), text)])
    }

    #[test]
    fn every_row_fires() {
        for (file, text) in [
            ("frame/length.rs", "use crate::port::Port;"),
            ("frame/mod.rs", "fn f() { super::flow::g() }"),
            ("frame/length.rs", "use crate::{error::Error, sched::Lane};"),
            ("frame/length.rs", "use crate::Session;"),
            ("frame/length.rs", "use crate::*;"),
            ("frame/length.rs", "use std::net::{IpAddr, TcpStream};"),
            ("frame/length.rs", "use crate::port;\nfn f() { port::g() }"),
            ("frame/length.rs", "fn f() { std::thread::yield_now() }"),
            ("sched/lanes.rs", "use crate::frame::Framing;"),
            ("sched/lanes.rs", "use super::super::network;"),
            ("sched/lanes.rs", "use rustix::event;"),
            ("port/epoll.rs", "use crate::flow::recv;"),
            ("strand/core.rs", "use crate::host::Port;"),
            ("port/iocp/mod.rs", "type A = crate::network::Network;"),
            (
                "port/epoll.rs",
                "mod a { use super::super::super::host::Host; }",
            ),
        ] {
            assert_eq!(
                at(file, text),
                [format!("{CRATE_SRC}{file}:1")],
                "{file}: {text}"
            );
            let test = format!(
                "#[cfg(test)]\nmod t {{ {} }}",
                text.replace("super::", "crate::")
            );
            assert_eq!(at(file, &test), [""; 0], "{test}");
        }
    }

    #[test]
    fn what_the_table_allows_is_silent() {
        for (file, text) in [
            (
                "frame/length.rs",
                "use crate::error::Error; use super::Framing; use bytes::Bytes;",
            ),
            (
                "frame/length.rs",
                "pub(crate) fn f() { self::g(); std::mem::take(a); std::net::Ipv4Addr::from(a); }",
            ),
            (
                "sched/lanes.rs",
                "use crate::sync::Mutex; use crate::{sched::word, time::Time};",
            ),
            (
                "port/epoll.rs",
                "use crate::session::Bits; use rustix::event; use crate::sched;",
            ),
            (
                "flow/recv.rs",
                "use crate::port; use crate::network; use std::net::TcpStream;",
            ),
        ] {
            assert_eq!(at(file, text), [""; 0], "{file}: {text}");
        }
        assert_eq!(
            places(
                check,
                &[("crates/other/src/frame/a.rs", "use crate::port;")]
            ),
            [""; 0]
        );
    }
}
