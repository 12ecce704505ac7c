//! The example servers against clients that others wrote: `redis-cli`, `redis-benchmark`, and the
//! RCON client `rcon` of PyPI.
//!
//! Where a client is missing its tests say `skipped` and pass; with `WHARF_REAL_CLIENTS=required`
//! in the environment they fail instead. To have them all:
//!
//! ```sh
//! apt-get install redis-tools
//! python3 -m venv target/ci-venv && target/ci-venv/bin/pip install rcon
//! ```
//!
//! `WHARF_RCON_PYTHON` names another Python that can `import rcon`.
#![allow(clippy::unwrap_used, reason = "a test: what can't be done fails it")]

mod example_process;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use example_process::{Example, run};

/// The program, if it is there; otherwise the test is skipped, or fails where clients are required.
fn require(program: impl Into<PathBuf>, probe: &[&str], mend: &str) -> Option<PathBuf> {
    let program = program.into();
    let works = Command::new(&program).args(probe).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    let missing = format!("{} not found ({mend})", program.display());
    let required = std::env::var("WHARF_REAL_CLIENTS").is_ok_and(|value| value == "required");
    assert!(!required, "{missing}, and WHARF_REAL_CLIENTS=required");
    tell(&format!("skipped: {missing}\n"));
    None
}

/// Says something in a test that passes; what `eprintln!` says there is not shown.
fn tell(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

fn redis_tool(name: &str) -> Option<PathBuf> {
    require(name, &["--version"], "apt-get install redis-tools")
}

/// Runs `redis-cli` with these arguments; what it prints, with types.
fn redis_cli(cli: &Path, resp: &Example, args: &[&str]) -> String {
    let port = resp.addr().port().to_string();
    let output = run(Command::new(cli)
        .args(["-h", "127.0.0.1", "-p", &port, "--no-raw"])
        .args(args));
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn redis_cli_prints_what_redis_would_answer() {
    let Some(cli) = redis_tool("redis-cli") else {
        return;
    };
    let resp = Example::start("resp", &[], &[]);
    // Taken from redis-server 7.0.15.
    let not_a_number = "(error) ERR value is not an integer or out of range\n";
    let table: &[(&str, &str)] = &[
        ("PING", "PONG\n"),
        ("PING hello", "\"hello\"\n"),
        ("ECHO hello", "\"hello\"\n"),
        ("GET none", "(nil)\n"),
        ("SET name wharf", "OK\n"),
        ("get name", "\"wharf\"\n"),
        ("SET name other NX", "(nil)\n"),
        ("SET fresh 1 XX", "(nil)\n"),
        ("SET fresh 1 EX 100 NX", "OK\n"),
        (
            "SET fresh 1 EX 0",
            "(error) ERR invalid expire time in 'set' command\n",
        ),
        ("SET fresh 1 EX soon", not_a_number),
        ("SET fresh 1 BY night", "(error) ERR syntax error\n"),
        ("INCR fresh", "(integer) 2\n"),
        ("DECR fresh", "(integer) 1\n"),
        ("DECR below", "(integer) -1\n"),
        ("INCR name", not_a_number),
        ("SET big 9223372036854775807", "OK\n"),
        (
            "INCR big",
            "(error) ERR increment or decrement would overflow\n",
        ),
        ("MSET a 1 b 2", "OK\n"),
        (
            "MSET a 1 b",
            "(error) ERR wrong number of arguments for 'mset' command\n",
        ),
        ("MGET a none b", "1) \"1\"\n2) (nil)\n3) \"2\"\n"),
        ("EXISTS a b none a", "(integer) 3\n"),
        ("DEL a none", "(integer) 1\n"),
        (
            "GET",
            "(error) ERR wrong number of arguments for 'get' command\n",
        ),
        (
            "DANCE now",
            "(error) ERR unknown command 'DANCE', with args beginning with: 'now' \n",
        ),
        ("SELECT 0", "OK\n"),
        ("SELECT 99", "(error) ERR DB index is out of range\n"),
        ("SELECT x", not_a_number),
        ("CONFIG GET appendonly", "1) \"appendonly\"\n2) \"no\"\n"),
        ("CONFIG GET none", "(empty array)\n"),
        ("DBSIZE", "(integer) 5\n"),
        ("FLUSHALL", "OK\n"),
        ("DBSIZE", "(integer) 0\n"),
        ("QUIT", "OK\n"),
    ];
    for (command, answer) in table {
        let args: Vec<_> = command.split(' ').collect();
        assert_eq!(redis_cli(&cli, &resp, &args), *answer, "{command}");
    }
    assert!(redis_cli(&cli, &resp, &["HELLO", "2"]).contains("\"proto\"\n"));
    let count = redis_cli(&cli, &resp, &["COMMAND", "COUNT"]);
    let commands = redis_cli(&cli, &resp, &["COMMAND"]);
    assert_eq!(
        count,
        format!("(integer) {}\n", commands.matches(") 1) \"").count())
    );
    resp.stop();
}

#[test]
fn redis_cli_carries_any_bytes() {
    let Some(cli) = redis_tool("redis-cli") else {
        return;
    };
    let resp = Example::start("resp", &[], &[]);
    let odd = "two words\r\n*1\r\n$4\r\nPING\r\n\u{e9} \"quoted\"";
    assert_eq!(redis_cli(&cli, &resp, &["SET", "odd key", odd]), "OK\n");
    let port = resp.addr().port().to_string();
    let raw = run(Command::new(&cli).args(["-p", &port, "--raw", "GET", "odd key"]));
    assert_eq!(String::from_utf8_lossy(&raw.stdout), format!("{odd}\n"));
    resp.stop();
}

/// What `redis-benchmark --csv` says of each test: its name and its requests per second.
fn benchmark(tool: &Path, resp: &Example, pipeline: &str) -> Vec<(String, f64)> {
    let port = resp.addr().port().to_string();
    let output = run(Command::new(tool)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "--csv",
            "-t",
            "ping,set,get,incr,mset",
        ])
        .args(["-c", "50", "-n", "10000", "-r", "1000", "-P", pipeline]));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "-P {pipeline}: {out}{err}");
    for text in [&out, &err] {
        let lower = text.to_ascii_lowercase();
        assert!(
            !lower.contains("err") && !lower.contains("warning"),
            "-P {pipeline}: {out}{err}"
        );
    }
    let line = |line: &str| {
        let mut fields = line.split(',').map(|field| field.trim_matches('"'));
        let name = fields.next()?.to_owned();
        Some((name, fields.next()?.parse().ok()?))
    };
    let mut lines = out.lines();
    assert!(
        lines
            .next()
            .is_some_and(|head| head.starts_with("\"test\",\"rps\"")),
        "{out}"
    );
    lines
        .map(|text| line(text).unwrap_or_else(|| panic!("{text:?} of {out}")))
        .collect()
}

#[test]
fn redis_benchmark_runs_clean() {
    let Some(tool) = redis_tool("redis-benchmark") else {
        return;
    };
    let resp = Example::start("resp", &[], &[]);
    for pipeline in ["1", "16"] {
        let results = benchmark(&tool, &resp, pipeline);
        let names: Vec<_> = results.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "PING_INLINE",
            "PING_MBULK",
            "SET",
            "GET",
            "INCR",
            "MSET (10 keys)",
        ];
        assert_eq!(names, expected);
        for (name, rate) in &results {
            assert!(*rate > 0.0, "{name}: {rate} requests per second");
        }
        tell(&format!("redis-benchmark -P {pipeline}: {results:?}\n"));
    }
    // It really was the server: SET and INCR have left keys there.
    let mut peer = resp.connect();
    peer.send("DBSIZE\r\n");
    let keys = peer.line();
    let keys: u32 = keys.trim_end().strip_prefix(':').unwrap().parse().unwrap();
    assert!(keys >= 1000, "{keys} keys");
    drop(peer);
    resp.stop();
}

/// The Python that has the package `rcon`.
fn rcon_python() -> Option<PathBuf> {
    let python = std::env::var_os("WHARF_RCON_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let test = std::env::current_exe().unwrap();
            let target = test.ancestors().nth(3).unwrap();
            target.join("ci-venv").join("bin").join("python")
        });
    let mend = "python3 -m venv target/ci-venv && target/ci-venv/bin/pip install rcon, or set \
                WHARF_RCON_PYTHON to a Python that can import rcon";
    require(python, &["-c", "import rcon.source"], mend)
}

/// Asks with the package's coroutine. Its class `Client` (in 2.4.9) opens a buffered reader for
/// each packet and loses what that has read too much; as both packets that answer a login come in
/// one segment, it waits for the second forever.
const RCON_CLIENT: &str = r#"
import asyncio, sys
from rcon.exceptions import WrongPassword
from rcon.source import rcon

async def ask(password, *command):
    return await asyncio.wait_for(
        rcon(*command, host="127.0.0.1", port=int(sys.argv[1]), passwd=password), 10)

async def main():
    try:
        await ask("guess", "status")
        print("a guess was let in")
    except WrongPassword:
        print("wrong password")
    print(await ask("secret", "echo", "two words", "and \u00e9"))
    print((await ask("secret", "status")).split()[0])
    for length in 1, 4095, 4096, 4097, 10000:
        text = await ask("secret", "long", str(length))
        print(length, len(text), text == ("0123456789" * 1000)[:length])
    many = await asyncio.gather(*(ask("secret", "echo", str(n)) for n in range(8)))
    print(*many)

asyncio.run(main())
"#;

#[test]
fn an_rcon_client_logs_in_and_reads_long_output() {
    let Some(python) = rcon_python() else { return };
    let rcon = Example::start("rcon", &[], &[("RCON_PASSWORD", "secret")]);
    let port = rcon.addr().port().to_string();
    let output = run(Command::new(python).args(["-X", "utf8", "-c", RCON_CLIENT, &port]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let expected = "wrong password\ntwo words and \u{e9}\nsessions:\n1 1 True\n4095 4095 True\n\
                    4096 4096 True\n4097 4097 True\n10000 10000 True\n0 1 2 3 4 5 6 7\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{errors}"
    );
    rcon.stop();
}
