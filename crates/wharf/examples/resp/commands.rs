//! The commands, each a function of the server, the session and the arguments behind the name.

use std::time::{Duration, Instant};

use wharf::Session;

use crate::Redis;
use crate::parser::{Args, number};
use crate::reply::{self, Done};
use crate::store::{AddError, Only};

/// A command that the server knows.
pub(crate) struct Command {
    /// In lower case; any case is taken.
    pub(crate) name: &'static str,
    /// Arguments, the name included; so many or more if negative, as Redis counts.
    arity: i64,
    pub(crate) run: fn(&Redis, &Session<Redis>, Args<'_>) -> Done,
}

const fn command(
    name: &'static str,
    arity: i64,
    run: fn(&Redis, &Session<Redis>, Args<'_>) -> Done,
) -> Command {
    Command { name, arity, run }
}

/// All commands, the usual ones first: the table is searched from its begin.
static COMMANDS: [Command; 18] = [
    command("get", 2, get),
    command("set", -3, set),
    command("incr", 2, |redis, s, args| add(redis, s, args, 1)),
    command("decr", 2, |redis, s, args| add(redis, s, args, -1)),
    command("mget", -2, mget),
    command("mset", -3, mset),
    command("ping", -1, ping),
    command("del", -2, del),
    command("exists", -2, exists),
    command("echo", 2, echo),
    command("dbsize", 1, dbsize),
    command("flushall", -1, flushall),
    command("select", 2, select),
    command("config", -2, config),
    command("command", -1, list),
    command("hello", -1, hello),
    command("quit", -1, quit),
    command("reset", 1, reset),
];

impl Command {
    pub(crate) fn find(name: &[u8]) -> Option<&'static Self> {
        COMMANDS
            .iter()
            .find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether `args` arguments, the name included, are as many as it wants.
    pub(crate) fn takes(&self, args: usize) -> bool {
        let args = args as i64;
        if self.arity < 0 {
            args >= -self.arity
        } else {
            args == self.arity
        }
    }
}

fn get(redis: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    let value = args
        .next()
        .and_then(|key| redis.store.get(&key, Instant::now()));
    reply::send(s, |out| reply::maybe_bulk(out, value.as_deref()))
}

/// `SET key value [NX | XX] [EX seconds | PX milliseconds]`
fn set(redis: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    let (Some(key), Some(value)) = (args.next(), args.next()) else {
        return syntax_error(s);
    };
    let now = Instant::now();
    let (mut only, mut expires) = (Only::Any, None);
    while let Some(option) = args.next() {
        match (option.to_ascii_lowercase().as_slice(), only, expires) {
            (b"nx", Only::Any, _) => only = Only::New,
            (b"xx", Only::Any, _) => only = Only::Existing,
            (unit @ (b"ex" | b"px"), _, None) => {
                let Some(time) = args.next() else {
                    return syntax_error(s);
                };
                let Some(n) = number(&time) else {
                    return not_a_number(s);
                };
                let time = match u64::try_from(n) {
                    Ok(n @ 1..) if unit == b"ex" => Duration::from_secs(n),
                    Ok(n @ 1..) => Duration::from_millis(n),
                    _ => return bad_expire(s),
                };
                let Some(at) = now.checked_add(time) else {
                    return bad_expire(s);
                };
                expires = Some(at);
            }
            _ => return syntax_error(s),
        }
    }
    if redis.store.set(&key, &value, expires, only, now) {
        reply::ok(s)
    } else {
        reply::send(s, |out| reply::maybe_bulk(out, None))
    }
}

fn add(redis: &Redis, s: &Session<Redis>, mut args: Args<'_>, by: i64) -> Done {
    let key = args.next().unwrap_or_default();
    match redis.store.add(&key, by, Instant::now()) {
        Ok(sum) => reply::send(s, |out| reply::integer(out, sum)),
        Err(AddError::NotANumber) => not_a_number(s),
        Err(AddError::Overflow) => reply::error(s, "ERR increment or decrement would overflow"),
    }
}

/// The values are sent one by one: a reply may be larger than the largest frame. One that is larger
/// than the send queue as well closes the session (see `main`), as Redis does beyond its own limit.
fn mget(redis: &Redis, s: &Session<Redis>, args: Args<'_>) -> Done {
    reply::send(s, |out| reply::array(out, args.len()))?;
    for key in args {
        let value = redis.store.get(&key, Instant::now());
        reply::send(s, |out| reply::maybe_bulk(out, value.as_deref()))?;
    }
    Ok(())
}

/// Sets key by key. (In Redis nobody sees a part of it; here another session may.)
fn mset(redis: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    if !args.len().is_multiple_of(2) {
        return wrong_count(s, "mset");
    }
    let now = Instant::now();
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        redis.store.set(&key, &value, None, Only::Any, now);
    }
    reply::ok(s)
}

fn del(redis: &Redis, s: &Session<Redis>, args: Args<'_>) -> Done {
    let now = Instant::now();
    let gone = args.filter(|key| redis.store.remove(key, now)).count();
    reply::send(s, |out| reply::integer(out, gone as i64))
}

/// A key named twice counts twice.
fn exists(redis: &Redis, s: &Session<Redis>, args: Args<'_>) -> Done {
    let now = Instant::now();
    let there = args
        .filter(|key| redis.store.get(key, now).is_some())
        .count();
    reply::send(s, |out| reply::integer(out, there as i64))
}

fn ping(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    match (args.next(), args.next()) {
        (None, _) => reply::send(s, |out| reply::simple(out, "PONG")),
        (Some(text), None) => reply::send(s, |out| reply::bulk(out, &text)),
        _ => wrong_count(s, "ping"),
    }
}

fn echo(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    let text = args.next().unwrap_or_default();
    reply::send(s, |out| reply::bulk(out, &text))
}

fn dbsize(redis: &Redis, s: &Session<Redis>, _: Args<'_>) -> Done {
    reply::send(s, |out| reply::integer(out, redis.store.len() as i64))
}

fn flushall(redis: &Redis, s: &Session<Redis>, _: Args<'_>) -> Done {
    redis.store.clear();
    reply::ok(s)
}

/// There is one database, number 0.
fn select(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    match args.next().and_then(|index| number(&index)) {
        Some(0) => reply::ok(s),
        Some(_) => reply::error(s, "ERR DB index is out of range"),
        None => not_a_number(s),
    }
}

/// `CONFIG GET name...`: `redis-benchmark` asks how the server saves. This one does not.
fn config(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    let subcommand = args.next().unwrap_or_default();
    if !subcommand.eq_ignore_ascii_case(b"get") {
        return unknown_subcommand(s, "CONFIG", &subcommand);
    }
    let known = [("save", ""), ("appendonly", "no")];
    let asked: Vec<_> = args
        .filter_map(|name| {
            known
                .iter()
                .find(|known| known.0.as_bytes().eq_ignore_ascii_case(&name))
        })
        .collect();
    reply::send(s, |out| {
        reply::array(out, asked.len() * 2);
        for (name, value) in asked {
            reply::bulk(out, name.as_bytes());
            reply::bulk(out, value.as_bytes());
        }
    })
}

/// `COMMAND`, `COMMAND COUNT` and `COMMAND DOCS`; `redis-cli` asks for the last to help typing and
/// does without when there are none.
fn list(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    let subcommand = args.next();
    let lower = subcommand.as_ref().map(|name| name.to_ascii_lowercase());
    match lower.as_deref() {
        None => reply::send(s, |out| {
            reply::array(out, COMMANDS.len());
            for command in &COMMANDS {
                // Name, arity, flags, and where its keys are: first, last, step.
                reply::array(out, 6);
                reply::bulk(out, command.name.as_bytes());
                reply::integer(out, command.arity);
                reply::array(out, 0);
                for at in command.keys() {
                    reply::integer(out, at);
                }
            }
        }),
        Some(b"count") => reply::send(s, |out| reply::integer(out, COMMANDS.len() as i64)),
        Some(b"docs") => reply::send(s, |out| reply::array(out, 0)),
        Some(_) => unknown_subcommand(s, "COMMAND", &subcommand.unwrap_or_default()),
    }
}

impl Command {
    fn keys(&self) -> [i64; 3] {
        match self.name {
            "get" | "set" | "incr" | "decr" => [1, 1, 1],
            "mget" | "del" | "exists" => [1, -1, 1],
            "mset" => [1, -1, 2],
            _ => [0, 0, 0],
        }
    }
}

/// `HELLO [2]`: which protocol is spoken. Version 3 is refused, and clients go on with 2.
fn hello(_: &Redis, s: &Session<Redis>, mut args: Args<'_>) -> Done {
    match args.next().map(|version| number(&version)) {
        None | Some(Some(2)) => {}
        Some(Some(_)) => return reply::error(s, "NOPROTO unsupported protocol version"),
        Some(None) => {
            let text = "ERR Protocol version is not an integer or out of range";
            return reply::error(s, text);
        }
    }
    if let Some(option) = args.next() {
        let option = String::from_utf8_lossy(&option);
        return reply::error(s, &format!("ERR Syntax error in HELLO option '{option}'"));
    }
    let id = i64::try_from(s.id().get()).unwrap_or(i64::MAX);
    reply::send(s, |out| {
        reply::array(out, 14);
        let mut text = |name: &str, value: &str| {
            reply::bulk(out, name.as_bytes());
            reply::bulk(out, value.as_bytes());
        };
        text("server", "wharf-resp");
        text("version", env!("CARGO_PKG_VERSION"));
        text("mode", "standalone");
        text("role", "master");
        for (name, value) in [("proto", 2), ("id", id)] {
            reply::bulk(out, name.as_bytes());
            reply::integer(out, value);
        }
        reply::bulk(out, b"modules");
        reply::array(out, 0);
    })
}

/// `close` flushes first, so the OK arrives.
fn quit(_: &Redis, s: &Session<Redis>, _: Args<'_>) -> Done {
    reply::ok(s)?;
    s.close();
    Ok(())
}

/// A session has no state to forget.
fn reset(_: &Redis, s: &Session<Redis>, _: Args<'_>) -> Done {
    reply::send(s, |out| reply::simple(out, "RESET"))
}

/// No such command. At most 128 bytes of name and of arguments are repeated, as in Redis.
pub(crate) fn unknown(s: &Session<Redis>, name: &[u8], args: Args<'_>) -> Done {
    let shown = |text: &[u8]| String::from_utf8_lossy(&text[..text.len().min(128)]).into_owned();
    let mut begin = String::new();
    for arg in args {
        begin.push_str(&format!("'{}' ", shown(&arg)));
        if begin.len() >= 128 {
            break;
        }
    }
    let name = shown(name);
    let text = format!("ERR unknown command '{name}', with args beginning with: {begin}");
    reply::error(s, &text)
}

fn unknown_subcommand(s: &Session<Redis>, command: &str, name: &[u8]) -> Done {
    let name = String::from_utf8_lossy(name);
    let text = format!("ERR unknown subcommand '{name}'. Try {command} HELP.");
    reply::error(s, &text)
}

pub(crate) fn wrong_count(s: &Session<Redis>, command: &str) -> Done {
    let text = format!("ERR wrong number of arguments for '{command}' command");
    reply::error(s, &text)
}

fn syntax_error(s: &Session<Redis>) -> Done {
    reply::error(s, "ERR syntax error")
}

fn not_a_number(s: &Session<Redis>) -> Done {
    reply::error(s, "ERR value is not an integer or out of range")
}

fn bad_expire(s: &Session<Redis>) -> Done {
    reply::error(s, "ERR invalid expire time in 'set' command")
}
