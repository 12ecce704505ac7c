//! Workers, holds, time and what a stuck run says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::port::current::Here;
use crate::port::drive::{Drive, Step};
use crate::port::sim::{Gate, SimPeer, StuckWhy, hold, hold_until};
use crate::time::Time;

/// An echo server of several workers, as small as one can be: every report is served by whoever
/// harvested it.
struct Echo {
    port: Arc<dyn Sockets>,
    listener: Socket,
    streams: Mutex<BTreeMap<u32, Arc<Socket>>>,
    /// Called for each byte.
    on_byte: fn(u8),
    stopping: std::sync::atomic::AtomicBool,
}

struct EchoWorker {
    name: String,
    echo: Arc<Echo>,
    todo: VecDeque<Ready>,
}

const LISTENER: Token = Token::new(0, 1);

impl Echo {
    fn start(sim: &Sim, workers: usize, on_byte: fn(u8)) -> Arc<Self> {
        let port = sim.backend();
        let listener = listen(&port, "10.0.0.1:80").unwrap();
        port.register(LISTENER, &listener).unwrap();
        let streams = Mutex::default();
        let stopping = std::sync::atomic::AtomicBool::new(false);
        let echo = Arc::new(Self {
            port,
            listener,
            streams,
            on_byte,
            stopping,
        });
        for worker in 0..workers {
            let (name, echo) = (format!("w{worker}"), echo.clone());
            let port = echo.port.clone();
            sim.adopt(
                Box::new(EchoWorker {
                    name,
                    echo,
                    todo: VecDeque::new(),
                }),
                &port,
            );
        }
        echo
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.port.wake();
    }

    fn accept_all(&self) {
        while let Ok((socket, _)) = accept(&self.port, &self.listener) {
            let mut streams = self.streams.lock();
            let slot = u32::try_from(streams.len()).unwrap() + 1;
            let socket = streams.entry(slot).or_insert(Arc::new(socket)).clone();
            self.port.register(Token::new(slot, 1), &socket).unwrap();
        }
    }

    fn serve(&self, slot: u32) {
        let Some(socket) = self.streams.lock().get(&slot).cloned() else {
            return;
        };
        while let Ok(bytes) = recv(&self.port, &socket) {
            if bytes.is_empty() {
                return self.port.shutdown_write(&socket);
            }
            for byte in &bytes {
                (self.on_byte)(*byte);
            }
            assert_eq!(send(&self.port, &socket, &bytes).unwrap(), bytes.len());
        }
    }
}

impl Drive for EchoWorker {
    fn enter(&self) -> Option<Here> {
        None
    }

    fn step(&mut self) -> Step {
        match self.todo.pop_front() {
            None if self.echo.stopping.load(Ordering::Relaxed) => {
                self.echo.port.wake();
                Step::Quit
            }
            None => Step::Harvest {
                max: 1,
                how: Wait::Block,
            },
            Some(ready) => {
                match ready.token {
                    Token::WAKE | Token::TIMER => {}
                    LISTENER => self.echo.accept_all(),
                    token => self.echo.serve(token.slot()),
                }
                Step::Ran
            }
        }
    }

    fn nap(&mut self, _: Duration) {}

    fn harvest(&mut self, max: usize, how: Wait) {
        let mut out = Vec::new();
        self.echo.port.wait(&mut out, max, how).unwrap();
        self.todo.extend(out);
    }

    fn name(&self) -> &str {
        &self.name
    }
}

fn client(sim: &Sim) -> SimPeer {
    let peer = sim.connect(addr("10.0.0.1:80"));
    sim.run_until(|| peer.is_connected()).unwrap();
    peer
}

fn no_faults() -> Sim {
    Sim::with_faults(5, Faults::none())
}

fn ask(sim: &Sim, peer: &SimPeer, byte: u8) {
    let mut got = Vec::new();
    peer.write(&[byte]).unwrap();
    sim.run_until(|| peer.read(&mut got).is_ok()).unwrap();
    assert_eq!(got, [byte]);
}

#[test]
fn workers_serve_and_leave() {
    let sim = no_faults();
    let echo = Echo::start(&sim, 3, |_| {});
    let peer = client(&sim);
    ask(&sim, &peer, b'x');
    peer.shutdown_write();
    let mut got = Vec::new();
    sim.run_until(|| peer.read(&mut got).is_ok_and(|count| count == 0))
        .unwrap();
    assert_eq!(sim.workers(&echo.port), 3);
    echo.stop();
    sim.run_until(|| sim.workers(&echo.port) == 0).unwrap();
    assert_eq!(Arc::strong_count(&echo), 1, "their memory is free");
}

#[test]
fn a_held_worker_leaves_the_others_working() {
    let sim = no_faults();
    let _echo = Echo::start(&sim, 2, |byte| {
        if byte == b'!' {
            hold(Duration::from_secs(2));
        }
    });
    let (slow, fast) = (client(&sim), client(&sim));
    let start = sim.now();
    slow.write(b"!").unwrap();
    sim.run_for(Duration::from_millis(1)).unwrap();
    ask(&sim, &fast, b'x');
    assert!(sim.now() - start < Duration::from_millis(2));

    fast.write(b"!").unwrap();
    sim.run_for(Duration::from_millis(1)).unwrap();
    let third = sim.connect(addr("10.0.0.1:80"));
    sim.run_until(|| third.is_connected()).unwrap();
    ask(&sim, &third, b'x');
    let took = sim.now() - start;
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_millis(2_100),
        "{took:?}"
    );
}

#[test]
fn a_gate_holds_until_it_is_opened() {
    static GATES: Mutex<Vec<Gate>> = Mutex::new(Vec::new());
    let sim = no_faults();
    let _echo = Echo::start(&sim, 1, |byte| {
        if byte == b'!' {
            let gate = Gate::new();
            GATES.lock().push(gate.clone());
            hold_until(&gate);
        }
    });
    let peer = client(&sim);
    peer.write(b"!!").unwrap();
    sim.run_until(|| GATES.lock().len() == 2).unwrap();
    peer.write(b"x").unwrap();
    let mut got = Vec::new();
    let stuck = sim
        .run_until(|| peer.read(&mut got).is_ok() && got.len() == 3)
        .unwrap_err();
    assert_eq!(stuck.why(), StuckWhy::Idle);
    assert!(
        stuck
            .to_string()
            .contains("worker w0 of port 0: held by a handler that waits")
    );
    GATES.lock()[1].open();
    assert!(!sim.step(), "it waits for the other too");
    GATES.lock()[0].open();
    sim.run_until(|| peer.read(&mut got).is_ok() && got.len() == 3)
        .unwrap();
}

#[test]
fn a_stuck_run_says_what_everyone_was_doing() {
    let sim = no_faults();
    let echo = Echo::start(&sim, 2, |_| hold(Duration::from_secs(9)));
    let peer = client(&sim);
    ask(&sim, &peer, b'x');
    sim.set_limits(1_000, Duration::from_secs(1));
    let stuck = sim.run_until(|| false).unwrap_err();
    assert_eq!((stuck.why(), stuck.seed()), (StuckWhy::Time, 5));
    let text = format!("{stuck:?}");
    assert!(
        text.contains("seed 5") && text.contains("last events:"),
        "{text}"
    );
    assert!(text.contains("held by a handler until 10.0"), "{text}");
    assert!(text.contains(": parked"), "{text}");

    echo.port.set_timer(Some(Time::ZERO));
    let stuck = sim.run_until(|| {
        echo.port.wake();
        false
    });
    let stuck = stuck.unwrap_err();
    assert_eq!((stuck.why(), stuck.steps()), (StuckWhy::Steps, 1_000));
    assert!(stuck.now() < Duration::from_secs(2));
}

#[test]
fn run_for_runs_neither_shorter_nor_longer() {
    let sim = no_faults();
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(sim.now(), Duration::from_secs(2), "an idle clock moves on");
    let port = sim.backend();
    port.set_timer(Some(port.now() + Duration::from_secs(10)));
    sim.run_for(Duration::from_secs(4)).unwrap();
    assert_eq!(
        sim.now(),
        Duration::from_secs(6),
        "a later timer does not pull it further"
    );
    assert!(sim.step());
    assert_eq!(sim.now(), Duration::from_secs(12));
}

#[test]
fn a_supervisor_is_called_when_it_said() {
    let sim = no_faults();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let port = sim.backend();
    sim.adopt_supervisor(Box::new(move |now| {
        assert_eq!(port.now(), now);
        let mut calls = noted.lock();
        calls.push(now.since(Time::ZERO));
        match calls.len() {
            1 => now + Duration::from_millis(100),
            2 => Time::ZERO,
            _ => Time::NEVER,
        }
    }));
    settle(&sim);
    let start = Duration::from_secs(1);
    let second = start + Duration::from_millis(100);
    assert_eq!(
        *calls.lock(),
        [start, second, second + Duration::from_micros(1)]
    );
    assert_eq!(
        Arc::strong_count(&calls),
        1,
        "one that will never be called is dropped"
    );
}

#[test]
fn a_supervisor_that_steps_is_not_called_in_itself() {
    let sim = no_faults();
    let inner = sim.clone();
    sim.adopt_supervisor(Box::new(move |now| {
        assert!(
            !inner.step(),
            "there is nothing but the supervisor, and it is busy"
        );
        if now > Time::from_nanos(1_000_000_000) {
            Time::NEVER
        } else {
            now + Duration::from_secs(1)
        }
    }));
    settle(&sim);
    assert_eq!(sim.now(), Duration::from_secs(2));
}

/// A worker that drives the simulation it is driven by, as a handler may.
struct Nested {
    sim: Sim,
    steps: Arc<AtomicUsize>,
}

impl Drive for Nested {
    fn enter(&self) -> Option<Here> {
        None
    }

    fn step(&mut self) -> Step {
        if self.steps.fetch_add(1, Ordering::Relaxed) >= 100 {
            return Step::Quit;
        }
        hold(Duration::from_millis(1));
        self.sim.step();
        let _ = self.sim.log_tail(1);
        Step::Ran
    }

    fn nap(&mut self, _: Duration) {}

    fn harvest(&mut self, _max: usize, _how: Wait) {}

    fn name(&self) -> &str {
        "nested"
    }
}

#[test]
fn a_step_may_drive_adopt_and_dismiss() {
    let sim = no_faults();
    let (port, other) = (sim.backend(), sim.backend());
    let steps = Arc::new(AtomicUsize::new(0));
    let nested = || {
        Box::new(Nested {
            sim: sim.clone(),
            steps: steps.clone(),
        })
    };
    sim.adopt(nested(), &port);
    sim.adopt(nested(), &port);
    sim.adopt(nested(), &other);
    assert_eq!((sim.workers(&port), sim.workers(&other)), (2, 1));
    sim.dismiss(&other);
    assert_eq!((sim.workers(&port), sim.workers(&other)), (2, 0));
    sim.run_until(|| sim.workers(&port) == 0).unwrap();
    assert_eq!(Arc::strong_count(&steps), 1);
    let held = sim.now() - Duration::from_secs(1);
    assert!(
        held > Duration::from_millis(10) && held < Duration::from_millis(110),
        "{held:?}"
    );
}

#[test]
#[should_panic(expected = "its port is not of this simulation")]
fn a_port_of_another_simulation_is_refused() {
    let sim = no_faults();
    let worker = Nested {
        sim: sim.clone(),
        steps: Arc::default(),
    };
    sim.adopt(Box::new(worker), &no_faults().backend());
}

#[test]
fn workers_under_faults_are_replayed_by_their_seed() {
    let run = |seed| {
        let sim = Sim::new(seed);
        sim.set_log_max(usize::MAX);
        // Small pipes would make the echo's send fail, which it does not bear.
        let faults = Faults {
            small_pipes: 0.0,
            partial_writes: 0.0,
            would_block: 0.0,
            ..Faults::default()
        };
        sim.set_faults(Faults {
            accept_aborts: 0.0,
            ..faults
        });
        let _echo = Echo::start(&sim, 3, |byte| hold(Duration::from_micros(byte.into())));
        let peers = [(); 5].map(|()| client(&sim));
        let mut got = 0;
        for round in 0..20 {
            for peer in &peers {
                peer.write(&[round; 3]).unwrap();
            }
            let mut bytes = Vec::new();
            got += 15;
            let before = got - 15;
            sim.run_until(|| {
                for peer in &peers {
                    let _ = peer.read(&mut bytes);
                }
                before + bytes.len() == got
            })
            .unwrap();
        }
        sim.log().join("\n")
    };
    let first = run(7);
    assert!(first.lines().count() > 1_000);
    assert!(first == run(7), "seed 7 gave two runs");
    assert!(first != run(8), "the seed changes nothing");
}
