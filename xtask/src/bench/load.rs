//! The load generator as the benchmarks run it: `wharf load`, on a core of its own.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::process::{Core, Running, bound_to};

/// What `wharf load` may take on top of its `--seconds`: connecting, and waiting for stragglers.
const LOAD_SLACK: Duration = Duration::from_secs(60);

/// The shape of the load.
#[derive(Args, Clone)]
pub(super) struct Shape {
    /// Connections
    #[arg(long, default_value_t = 64)]
    pub(super) connections: u32,

    /// Frames in flight per connection
    #[arg(long, default_value_t = 1)]
    pub(super) depth: u32,

    /// Bytes of a whole frame
    #[arg(long, default_value_t = 64)]
    pub(super) size: u32,

    /// Seconds of a run
    #[arg(long, default_value_t = 2.0)]
    pub(super) seconds: f64,
}

/// The load generator and the shape of its load.
pub(super) struct Load {
    pub(super) program: String,
    pub(super) shape: Shape,
    /// So many frames of each connection end it before its time.
    pub(super) frames: Option<u64>,
}

/// What one run of the load generator reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LoadReport {
    pub(super) frames: f64,
    pub(super) frames_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Load {
    /// Runs the load generator against `address`; a lost or wrong frame is an error.
    pub(super) fn run(&self, address: &str) -> Result<LoadReport, String> {
        let mut command = vec![self.program.clone(), "load".into()];
        command.extend(["--connect".into(), address.into(), "--json".into()]);
        command.extend(self.shape_args());
        let limit = Duration::from_secs_f64(self.shape.seconds) + LOAD_SLACK;
        let mut running = Running::start("wharf load", bound_to(Core::Load, &command)?)?;
        LoadReport::read(&running.output(limit)?)
    }

    pub(super) fn shape_args(&self) -> Vec<String> {
        let Shape {
            connections,
            depth,
            size,
            seconds,
        } = self.shape;
        let (connections, depth, size) =
            (connections.to_string(), depth.to_string(), size.to_string());
        let pairs = [
            ("--connections", connections),
            ("--depth", depth),
            ("--size", size),
            ("--seconds", seconds.to_string()),
        ];
        let frames = self.frames.map(|frames| ("--frames", frames.to_string()));
        pairs
            .into_iter()
            .chain(frames)
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    }

    pub(super) fn describe(&self) -> String {
        format!("echo load: {}", self.shape_args().join(" "))
    }
}

impl LoadReport {
    /// Reads the one JSON object that `wharf load --json` prints.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let report: Value =
            serde_json::from_str(text).map_err(|e| format!("wharf load's JSON: {e}\n{text}"))?;
        if report["fault"] == true {
            return Err(format!(
                "wharf load found a fault: {}",
                report["first_fault"]
            ));
        }
        let number = |value: &Value, name: &str| {
            let missing = || format!("wharf load's JSON has no number `{name}`: {text}");
            value[name].as_f64().ok_or_else(missing)
        };
        let frames = number(&report, "frames_answered")?;
        if frames <= 0.0 {
            return Err(format!("no frame was answered: {text}"));
        }
        Ok(Self {
            frames,
            frames_per_second: number(&report, "frames_per_second")?,
            p50_us: number(&report["latency_us"], "p50")?,
            p99_us: number(&report["latency_us"], "p99")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_a_fault_is_an_error() {
        let good = r#"{"frames_answered": 10, "frames_per_second": 5.5, "fault": false,
                       "latency_us": {"p50": 1, "p99": 2.5}}"#;
        let expected = LoadReport {
            frames: 10.0,
            frames_per_second: 5.5,
            p50_us: 1.0,
            p99_us: 2.5,
        };
        assert_eq!(LoadReport::read(good), Ok(expected));
        for (from, to, names) in [
            ("false", "true", "fault"),
            ("\"p99\"", "\"p98\"", "`p99`"),
            ("10", "0", "no frame"),
            ("{\"p50\"", "[", "JSON"),
        ] {
            let error = LoadReport::read(&good.replace(from, to)).expect_err(to);
            assert!(error.contains(names), "{error}");
        }
    }
}
