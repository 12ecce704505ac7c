//! What is measured: a cell is one load, and its name says which.

use std::fmt;

/// Who sends what to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every frame comes back to its connection.
    Echo,
    /// Frames of so many senders come to all connections.
    Broadcast { senders: u32 },
    /// Connect, one frame, its reply, close.
    Churn,
    /// One frame each, then silence: only memory is of interest.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) kind: Kind,
    pub(super) connections: u32,
    /// Frames in flight per connection.
    pub(super) depth: u32,
    /// Bytes of a frame.
    pub(super) size: u32,
    pub(super) workers: usize,
}

/// What fits about ten minutes of a quiet machine.
const QUICK: &str = "echo-64x1-64,echo-64x16-64,echo-1000x1-256,echo-1000x16-256,\
                     broadcast-1x1000-64,churn-64,idle-10000";

/// What else a full run has: the frame sizes, the ends of the number of connections, two workers.
const MORE: &str = "echo-1x1-32,echo-1x16-32,echo-64x1-32,echo-64x16-32,echo-64x1-256,\
                    echo-64x16-256,echo-64x1-1024,echo-64x16-1024,echo-64x1-16384,\
                    echo-64x16-16384,echo-10000x1-256,echo-10000x16-256,echo-1000x1-32,\
                    echo-1000x16-32,echo-1000x1-1024,echo-1000x16-1024,\
                    echo-64x1-256-2w,echo-64x16-256-2w,echo-1000x1-256-2w,echo-1000x16-256-2w,\
                    broadcast-10x1000-64,idle-18000,idle-50000";

/// The named cells, in order, each once; `quick` and `full` stand for sets.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    for name in names {
        let list = match name.as_str() {
            "quick" => QUICK.to_owned(),
            "full" => format!("{QUICK},{MORE}"),
            name => name.to_owned(),
        };
        for name in list.split(',').map(str::trim) {
            let cell = Cell::parse(name).ok_or_else(|| unknown(name))?;
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

fn unknown(name: &str) -> String {
    format!(
        "no cell is named `{name}`; there are quick, full, and CONNECTIONSxDEPTH-BYTES as in \
         echo-64x1-256 or echo-64x1-256-2w (two workers), SENDERSxCONNECTIONS-BYTES as in \
         broadcast-1x1000-64, churn-CONNECTIONS, idle-SESSIONS"
    )
}

impl Cell {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let (rest, workers) = match rest.strip_suffix("-2w") {
            Some(rest) if kind == "echo" => (rest, 2),
            _ => (rest, 1),
        };
        let plain = |kind, connections| Self {
            kind,
            connections,
            depth: 1,
            size: 64,
            workers,
        };
        let (shape, size) = rest.split_once('-').unwrap_or((rest, ""));
        let pair = |text: &str| {
            let (a, b) = text.split_once('x')?;
            Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?))
        };
        let cell = match kind {
            "echo" => {
                let ((connections, depth), size) = (pair(shape)?, size.parse().ok()?);
                Self {
                    depth,
                    size,
                    ..plain(Kind::Echo, connections)
                }
            }
            "broadcast" => {
                let ((senders, connections), size) = (pair(shape)?, size.parse().ok()?);
                Self {
                    size,
                    ..plain(Kind::Broadcast { senders }, connections)
                }
            }
            "churn" => plain(Kind::Churn, rest.parse().ok()?),
            "idle" => plain(Kind::Idle, rest.parse().ok()?),
            _ => return None,
        };
        Some(cell)
    }

    /// What one counted thing is called: a reply, a delivery, a connection.
    pub(super) fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Echo => "frame",
            Kind::Broadcast { .. } => "delivery",
            Kind::Churn => "connection",
            Kind::Idle => "session",
        }
    }

    /// The word that starts the server.
    pub(super) fn service(&self) -> &'static str {
        match self.kind {
            Kind::Broadcast { .. } => "broadcast",
            _ => "echo",
        }
    }

    /// Open files that the largest process of the cell needs.
    pub(super) fn files(&self) -> u64 {
        u64::from(self.connections) + 500
    }

    /// The arguments of `wharf load` but for the address and the times.
    pub(super) fn load_args(&self) -> Vec<String> {
        let mut pairs = vec![
            ("--connections", self.connections.to_string()),
            ("--size", self.size.to_string()),
            ("--connect-timeout-seconds", "60".into()),
        ];
        match self.kind {
            Kind::Echo => pairs.push(("--depth", self.depth.to_string())),
            Kind::Broadcast { senders } => {
                pairs.push(("--mode", "broadcast".into()));
                pairs.push(("--senders", senders.to_string()));
            }
            Kind::Churn => pairs.push(("--mode", "churn".into())),
            Kind::Idle => pairs.push(("--mode", "idle".into())),
        }
        // One address has about 28,000 ports, and a closed connection keeps its port for a minute.
        // Where half of them are taken, the kernel searches long for a free one: 10,000 connects
        // took 12 s, and wharf closed those that had not spoken for 10 s.
        if self.kind == Kind::Churn || self.connections >= 10_000 {
            let sources: Vec<String> = (2..250).map(|n| format!("127.0.0.{n}")).collect();
            pairs.push(("--source-addrs", sources.join(",")));
        }
        let words = pairs
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        words.collect()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            depth,
            size,
            workers,
            ..
        } = self;
        match self.kind {
            Kind::Echo => write!(f, "echo-{connections}x{depth}-{size}")?,
            Kind::Broadcast { senders } => write!(f, "broadcast-{senders}x{connections}-{size}")?,
            Kind::Churn => write!(f, "churn-{connections}")?,
            Kind::Idle => write!(f, "idle-{connections}")?,
        }
        if *workers > 1 {
            write!(f, "-{workers}w")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_set_is_the_name_of_its_cell() {
        let all = chosen(&["full".into()]).expect("known");
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.join(","), format!("{QUICK},{MORE}"));
        assert_eq!(
            chosen(&["quick".into(), "churn-64".into()]).map(|cells| cells.len()),
            Ok(7)
        );
    }

    #[test]
    fn a_name_says_the_load() {
        let cell = Cell::parse("broadcast-10x1000-64").expect("known");
        let args = cell.load_args().join(" ");
        assert!(args.contains("--connections 1000 --size 64"), "{args}");
        assert!(args.contains("--mode broadcast --senders 10"), "{args}");
        let two = Cell::parse("echo-64x16-1024-2w").expect("known");
        assert_eq!((two.workers, two.depth, two.size), (2, 16, 1024));
        for wrong in ["echo-64x1", "echo", "idle-x", "churn-64-2w", "sink-1"] {
            assert!(chosen(&[wrong.into()]).is_err(), "{wrong}");
        }
    }
}
