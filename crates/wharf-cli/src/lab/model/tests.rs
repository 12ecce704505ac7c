use super::costs::Wake;
use super::input::{Costs, FarEnd, OsCosts, Placement, Scenario};
use super::layouts::placement;
use super::run::{Outcome, simulate};
use crate::lab::workload::{Arrivals, Class, Cost, Handler, Load, Rank, Role, Work};

const SECOND: u64 = 1_000_000_000;

fn class(name: &str, load: Load, handler: Handler) -> Class {
    Class {
        name: name.into(),
        role: Role::Server,
        class: if name == "game" {
            Rank::High
        } else {
            Rank::Low
        },
        sessions: 64,
        load,
        frame_bytes: 64,
        handler,
        replies: true,
    }
}

fn poisson(per_s: f64) -> Load {
    Load::Rate {
        per_s,
        arrivals: Arrivals::Poisson,
    }
}

fn spin(cost: Cost) -> Handler {
    Handler {
        kind: Work::Spin,
        cost,
    }
}

fn one_port(workers: usize) -> Placement {
    let text = format!("[port.all]\nworkers = {workers}\n[network.game]\nport = \"all\"");
    placement(&text, workers, &["game"]).unwrap()
}

fn scenario(cores: usize, placement: Placement, classes: Vec<Class>) -> Scenario {
    Scenario {
        cores,
        far_end: FarEnd::Apart,
        ceilings_per_s: vec![0.0; classes.len()],
        classes,
        placement,
        costs: Costs::FREE,
        warm_up: SECOND,
        measure: 20 * SECOND,
        seed: 7,
    }
}

/// The mean wait in the queue, in service times, of Poisson arrivals on one worker with its core.
fn mean_wait(load: f64, cost: Cost) -> f64 {
    let service = spin(cost).mean_us();
    let game = class("game", poisson(load * 1e6 / service), spin(cost));
    let outcome = simulate(&scenario(1, one_port(1), vec![game]));
    outcome.classes[0].latency.mean() / 1000.0 / service - 1.0
}

fn close(found: f64, known: f64, within: f64) {
    assert!(
        (found / known - 1.0).abs() < within,
        "found {found}, known {known}"
    );
}

/// Pollaczek and Khinchine: the mean wait in service times is load (1 + cv^2) / 2 (1 - load).
#[test]
fn one_worker_waits_as_queueing_theory_says() {
    for load in [0.3, 0.8] {
        // 64 sessions and a turn each: frames of one session wait for each other, but the order of
        // service does not change the mean as long as it does not depend on the service time.
        let exponential = mean_wait(load, Cost::Exponential { mean_us: 200.0 });
        close(exponential, load / (1.0 - load), 0.05);
        let fixed = mean_wait(load, Cost::Fixed { us: 200.0 });
        close(fixed, load / (1.0 - load) / 2.0, 0.05);
    }
}

/// Erlang's C for two workers on two cores: the mean wait of M/M/2 is r^2 / (1 - r^2) services.
#[test]
fn two_workers_wait_as_queueing_theory_says() {
    for load in [0.4, 0.7] {
        let cost = Cost::Exponential { mean_us: 200.0 };
        let game = class("game", poisson(2.0 * load * 1e6 / 200.0), spin(cost));
        let outcome = simulate(&scenario(2, one_port(2), vec![game]));
        let wait = outcome.classes[0].latency.mean() / 200_000.0 - 1.0;
        close(wait, load * load / (1.0 - load * load), 0.06);
    }
}

#[test]
fn what_comes_in_goes_out_and_costs_what_it_costs() {
    let game = class("game", poisson(2_000.0), spin(Cost::Fixed { us: 100.0 }));
    let outcome = simulate(&scenario(2, one_port(2), vec![game]));
    close(outcome.classes[0].frames_per_s, 2_000.0, 0.02);
    close(outcome.cpu, 0.2, 0.02);
    assert_eq!(outcome.classes[0].unsent, 0);
}

const LANES: &str = r#"
[port.front]
workers = 4
lanes = [ { name = "players" }, { name = "backend", workers_max = 1 } ]
[network.game]
port = "front"
lane = "players"
[network.chat]
port = "front"
lane = "backend"
[network.master]
port = "front"
lane = "backend"
"#;

const APART: &str = r#"
[port.game]
workers = 4
[port.chat]
workers = 1
[port.master]
workers = 1
[network.game]
port = "game"
[network.chat]
port = "chat"
[network.master]
port = "master"
"#;

const DISPATCH: &str = r#"
[port.front]
workers = 1
[pool.high]
workers = 4
[pool.low]
workers = 1
[network.game]
port = "front"
pool = "high"
[network.chat]
port = "front"
pool = "low"
[network.master]
port = "front"
pool = "low"
"#;

/// The argument on five cores: four game workers, chat and master.
fn argument(topology: &str, seed: u64) -> Outcome {
    let link = |name| Class {
        sessions: 1,
        ..class(
            name,
            Load::Saturate { depth: 4 },
            spin(Cost::Fixed { us: 2_000.0 }),
        )
    };
    let game = class("game", poisson(80_000.0), spin(Cost::Fixed { us: 20.0 }));
    let placement = placement(topology, 5, &["game", "chat", "master"]).unwrap();
    let mut scenario = scenario(5, placement, vec![game, link("chat"), link("master")]);
    scenario.seed = seed;
    scenario.measure = SECOND / 2;
    scenario.warm_up = SECOND / 10;
    let wake = Wake {
        cost: 8_000,
        start: [
            10_000, 12_000, 14_000, 15_000, 16_000, 20_000, 30_000, 40_000,
        ],
    };
    scenario.costs = Costs {
        os: OsCosts {
            switch: 1_500,
            wake_local: 600,
            wake_idle: [wake; 7],
            wake_busy: wake,
            cold: 3_000,
            timer_late: 60_000,
            timer_late_ahead: 10_000,
            ahead: true,
            slice: OsCosts::slice_of(5),
            ..OsCosts::FREE
        },
        wait: 300,
        report: 60,
        post: 300,
        turn: 1_200,
        frame: 150,
        flush: 2_500,
        spin_more: 0,
        hand_off: 700,
        far_wait: 400,
        far_recv: 900,
        far_recv_none: 300,
        far_frame: 100,
        far_send: 2_500,
        far_post: 500,
        far_pace: 500,
    };
    simulate(&scenario)
}

#[test]
fn the_argument_runs_and_a_lane_keeps_its_cap() {
    let lanes = argument(LANES, 1);
    assert_eq!(lanes.at_once_max.len(), 1);
    assert_eq!(
        lanes.at_once_max[0][1], 1,
        "backend never holds two workers"
    );
    assert!(lanes.at_once_max[0][0] > 1, "players do");
    let links =
        |outcome: &Outcome| outcome.classes[1].frames_per_s + outcome.classes[2].frames_per_s;
    // One worker: one frame in 2 ms. Six workers and five cores: two of them.
    close(links(&lanes), 500.0, 0.1);
    let apart = argument(APART, 1);
    close(links(&apart), 1_000.0, 0.15);
    let dispatch = argument(DISPATCH, 1);
    close(links(&dispatch), 500.0, 0.1);
    assert!(dispatch.hand_offs_per_s > 10_000.0 && lanes.hand_offs_per_s < 1.0);
    for outcome in [&lanes, &apart, &dispatch] {
        close(outcome.classes[0].frames_per_s, 80_000.0, 0.05);
    }
}

#[test]
fn a_seed_fixes_everything() {
    let report = |seed| {
        let outcome = argument(LANES, seed);
        let latency = &outcome.classes[0].latency;
        (
            latency.len(),
            latency.max(),
            latency.value_at_quantile(0.5),
            outcome.cpu.to_bits(),
        )
    };
    assert_eq!(report(3), report(3));
    assert_ne!(report(3), report(4));
}

#[test]
fn a_topology_without_a_place_is_refused() {
    let error = placement(LANES, 4, &["game", "shop"]).unwrap_err();
    assert!(error.contains("network shop"), "{error}");
}
