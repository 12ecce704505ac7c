//! The command line of every server here: `NAME [echo|broadcast] --listen ADDR:PORT [--workers N]`.

use std::net::SocketAddr;

/// What a server does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Send it back to its connection.
    Echo,
    /// Send it to every connection, its sender too.
    Broadcast,
}

/// What a server was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Echo, if not told.
    pub service: Service,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that serve; 1, if not told.
    pub workers: usize,
}

/// Printed with every error.
const USAGE: &str = "usage: NAME [echo|broadcast] --listen ADDR:PORT [--workers N]";

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// A word that is no option, a value that can't be read, no `--listen`, or a broadcast room on
    /// several workers, which no server here has.
    pub fn read(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = args.peekable();
        let service = match args.peek().map(String::as_str) {
            Some("broadcast") => Service::Broadcast,
            _ => Service::Echo,
        };
        args.next_if(|word| word == "echo" || word == "broadcast");
        let (mut listen, mut workers) = (None, 1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            let wrong = |why: String| format!("{name} {value}: {why}; {USAGE}");
            match name.as_str() {
                "--listen" => {
                    let address: SocketAddr = value.parse().map_err(|e| wrong(format!("{e}")))?;
                    listen = Some(address);
                }
                "--workers" => {
                    let count: usize = value.parse().map_err(|e| wrong(format!("{e}")))?;
                    workers = Some(count)
                        .filter(|n| *n > 0)
                        .ok_or_else(|| wrong("none".into()))?;
                }
                _ => return Err(USAGE.into()),
            }
        }
        if service == Service::Broadcast && workers > 1 {
            return Err(format!("the room has one worker; {USAGE}"));
        }
        Ok(Self {
            service,
            listen: listen.ok_or(USAGE)?,
            workers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn defaults_and_all_options() {
        let least = Options {
            service: Service::Echo,
            listen: "127.0.0.1:0".parse().unwrap(),
            workers: 1,
        };
        assert_eq!(read("--listen 127.0.0.1:0"), Ok(least));
        assert_eq!(read("echo --workers 1 --listen 127.0.0.1:0"), Ok(least));
        let room = Options {
            service: Service::Broadcast,
            ..least
        };
        assert_eq!(read("broadcast --listen 127.0.0.1:0"), Ok(room));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("", "usage"),
            ("--listen nowhere", "--listen nowhere"),
            ("--listen 127.0.0.1:0 --workers 0", "--workers 0"),
            ("--listen", "usage"),
            ("sink --listen 127.0.0.1:0", "usage"),
            ("broadcast --listen 127.0.0.1:0 --workers 2", "one worker"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
