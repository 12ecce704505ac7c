//! Bytes through two ports under all faults, driven by nothing but reports: one that is missing
//! leaves the run stuck and fails the test.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// One end, worked as an edge-triggered user must (R3): sticky bits, cleared only by the calls.
struct End {
    port: Arc<dyn Sockets>,
    socket: Socket,
    token: Token,
    seen: Bits,
    to_send: Vec<u8>,
    sent: usize,
    shut: bool,
    got: Vec<u8>,
    /// How reading ended.
    ended: Option<Result<(), ErrorKind>>,
}

impl End {
    fn new(port: Arc<dyn Sockets>, socket: Socket, token: Token, to_send: Vec<u8>) -> Self {
        port.register(token, &socket).unwrap();
        let (seen, got) = (Bits::default(), Vec::new());
        Self {
            port,
            socket,
            token,
            seen,
            to_send,
            sent: 0,
            shut: false,
            got,
            ended: None,
        }
    }

    /// How many reports it got.
    fn harvest(&mut self, max: usize) -> usize {
        let mut out = Vec::new();
        self.port.wait(&mut out, max, Wait::Poll).unwrap();
        for ready in &out {
            if ready.token == self.token {
                self.seen = self.seen.with(ready.bits);
            }
        }
        out.len()
    }

    /// Whether a read or write would do something.
    fn can_act(&self) -> bool {
        let reads = self.ended.is_none() && self.seen.any(Bits::READ);
        reads || (!self.shut && self.seen.any(Bits::WRITE))
    }

    fn clear(&mut self, bits: Bits) {
        self.seen = Bits(self.seen.0 & !bits.0);
    }

    fn read(&mut self, rng: &mut fastrand::Rng) {
        let hung_up = Bits::READ_HANGUP.with(Bits::HANGUP).with(Bits::ERROR);
        while self.ended.is_none() && self.seen.any(Bits::READ) {
            let mut into = vec![0; 1 << rng.u32(0..12)];
            match self.port.recv(&self.socket, &mut into) {
                Ok(0) => self.ended = Some(Ok(())),
                Ok(count) => {
                    self.got.extend(&into[..count]);
                    if count < into.len() && !self.seen.any(hung_up) {
                        self.clear(Bits::READ);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.clear(Bits::READ),
                Err(error) => self.ended = Some(Err(error.kind())),
            }
        }
    }

    fn write(&mut self, rng: &mut fastrand::Rng) {
        while !self.shut && self.seen.any(Bits::WRITE) {
            if self.sent == self.to_send.len() {
                self.port.shutdown_write(&self.socket);
                self.shut = true;
                return;
            }
            let until = rng.usize(self.sent + 1..=self.to_send.len());
            let (one, two) = self.to_send[self.sent..until].split_at((until - self.sent) / 2);
            match self
                .port
                .send(&self.socket, &[IoSlice::new(one), IoSlice::new(two)])
            {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.clear(Bits::WRITE),
                Err(error) => {
                    use ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
                    let allowed = [BrokenPipe, ConnectionReset, NotConnected];
                    assert!(allowed.contains(&error.kind()), "{error:?}");
                    self.shut = true;
                }
            }
        }
    }

    fn done(&self) -> bool {
        self.shut && self.ended.is_some()
    }
}

fn payload(len: usize, salt: u8) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(salt.into());
    (0..len).map(|_| rng.u8(..)).collect()
}

/// A connection between two ports, one end each.
fn two_ends(sim: &Sim, sizes: [usize; 2]) -> [End; 2] {
    let (one, two) = (sim.backend(), sim.backend());
    let listener = listen(&two, "10.0.0.1:0").unwrap();
    let client = connect(&one, two.local_addr(&listener).unwrap()).unwrap();
    let client = End::new(one, client, CLIENT, payload(sizes[0], 1));
    two.register(Token::new(9, 1), &listener).unwrap();
    let server = loop {
        match accept(&two, &listener) {
            Ok((server, _)) => break server,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        sim.step();
    };
    [client, End::new(two, server, SERVER, payload(sizes[1], 2))]
}

fn run(sim: &Sim, ends: &mut [End; 2], seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while !ends.iter().all(End::done) {
        let end = &mut ends[rng.usize(0..2)];
        match rng.u8(0..5) {
            0 => _ = end.harvest(rng.usize(1..4)),
            1 => end.read(&mut rng),
            2 => end.write(&mut rng),
            _ if sim.step() || ends.iter().any(End::can_act) => {}
            _ => {
                let reports = ends
                    .iter_mut()
                    .map(|end| end.harvest(usize::MAX))
                    .sum::<usize>();
                assert!(
                    reports > 0,
                    "a report is missing\n{}",
                    sim.log_tail(200).join("\n")
                );
            }
        }
    }
}

fn faults() -> impl Strategy<Value = Faults> {
    let often = || prop_oneof![Just(0.0), 0.0..0.9];
    let one = (
        often(),
        often(),
        often(),
        often(),
        often(),
        often(),
        often(),
    );
    let two = (often(), 1_usize..5_000, 0_u64..2_000, 0_u64..2_000);
    (one, two).prop_map(|(one, two)| Faults {
        short_reads: one.0,
        partial_writes: one.1,
        would_block: one.2,
        spurious_reports: one.3,
        doubled_reports: one.4,
        late_reports: one.5,
        small_pipes: one.6,
        stale_reports: two.0,
        pipe_bytes: two.1,
        late_max: Duration::from_micros(two.2),
        delay_max: Duration::from_micros(two.3),
        ..Faults::none()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bytes_arrive_whole_and_in_order(
        seed: u64,
        faults in faults(),
        sizes in [0_usize..20_000, 0_usize..20_000],
    ) {
        let sim = Sim::with_faults(seed, faults);
        let mut ends = two_ends(&sim, sizes);
        run(&sim, &mut ends, seed);
        for (end, other) in [(0, 1), (1, 0)] {
            prop_assert_eq!(&ends[end].ended, &Some(Ok(())));
            prop_assert!(ends[end].got == ends[other].to_send, "bytes differ");
        }
    }

    #[test]
    fn a_broken_connection_gives_a_prefix_and_says_so(
        seed: u64,
        faults in faults(),
        resets in 0.001..0.5,
        lost_at_reset in 0.0..1.0,
        sizes in [1_usize..20_000, 0_usize..20_000],
    ) {
        let faults = Faults { resets, lost_at_reset, ..faults };
        let sim = Sim::with_faults(seed, faults);
        let mut ends = two_ends(&sim, sizes);
        run(&sim, &mut ends, seed);
        for (end, other) in [(0, 1), (1, 0)] {
            let (got, sent) = (&ends[end].got, &ends[other].to_send);
            match ends[end].ended {
                Some(Ok(())) => prop_assert!(got == sent, "an end of stream after a part"),
                Some(Err(kind)) => {
                    prop_assert_eq!(kind, ErrorKind::ConnectionReset);
                    prop_assert!(sent.starts_with(got), "no prefix");
                }
                None => prop_assert!(false, "it never ended"),
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let events = |seed| {
        let sim = Sim::new(seed);
        sim.set_log_max(usize::MAX);
        let mut ends = two_ends(&sim, [5_000, 5_000]);
        run(&sim, &mut ends, 3);
        sim.log().join("\n")
    };
    let first = events(11);
    assert!(first.lines().count() > 50);
    assert!(first == events(11), "seed 11 gave two runs");
    assert!(first != events(12), "the seed changes nothing");
}
