//! What a workload may not say: sizes, rates and depths out of bounds, names that nothing has.

use super::super::nearest::nearest;
use super::{Class, Cost, Load, Role, Work, Workload};

/// Most sessions of a class: the lab holds the other end of each in one thread.
const SESSIONS_MAX: u32 = 10_000;
/// Most frames a second of a class: beyond what one driving thread can keep up with.
const RATE_MAX: f64 = 1_000_000.0;
/// Longest handler, in microseconds: ten seconds.
pub(super) const HANDLER_US_MAX: f64 = 10_000_000.0;
/// Smallest and largest frame: the header with the label that is checked, and what the default
/// framing takes.
const FRAME_BYTES: std::ops::RangeInclusive<u16> = 12..=16_384;

impl Workload {
    /// Refuses what is wrong in itself: no classes, names twice, sizes and rates out of bounds.
    ///
    /// # Errors
    /// The first thing wrong, by class and field.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("name is empty".into());
        }
        if self.high().next().is_none() {
            return Err("no class has class = \"high\": there is nothing to protect".into());
        }
        for (at, class) in self.classes.iter().enumerate() {
            if self.classes[..at]
                .iter()
                .any(|other| other.name == class.name)
            {
                return Err(format!("two classes are named \"{}\"", class.name));
            }
            class
                .check()
                .map_err(|e| format!("class {}: {e}", class.name))?;
        }
        for (at, variant) in self.variants.iter().enumerate() {
            let named = |e: String| format!("variant {}: {e}", variant.name);
            if self.variants[..at]
                .iter()
                .any(|other| other.name == variant.name)
            {
                return Err(named("there are two of this name".into()));
            }
            let names: Vec<_> = self.classes.iter().map(|c| c.name.as_str()).collect();
            for (class, _) in &variant.changes {
                if !names.contains(&class.as_str()) {
                    let near = nearest(class, &names);
                    return Err(named(format!("there is no class \"{class}\"{near}")));
                }
            }
            let changed = self.variant(&variant.name)?;
            for class in &changed.classes {
                class
                    .check()
                    .map_err(|e| named(format!("class {}: {e}", class.name)))?;
            }
        }
        Ok(())
    }

    /// Refuses a load that `cores` cores can't carry however it is laid out: more computing a
    /// second than there are seconds. (A class that is to be overloaded says `saturate`.)
    ///
    /// # Errors
    /// How many cores the classes with a schedule would need.
    pub(crate) fn check_for(&self, cores: usize) -> Result<(), String> {
        for (variant, workload) in self.each_variant() {
            let needed: f64 = workload.classes.iter().map(Class::cores_needed).sum();
            // A number of cores is small enough for a float.
            let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
            if needed > cores {
                let of = if variant.is_empty() {
                    String::new()
                } else {
                    format!(", variant {variant}")
                };
                return Err(format!(
                    "workload {}{of}: its rates need {needed:.1} cores for the handlers alone, and \
                     there are {cores}: lower rate_per_s or the handlers' us, or let the class \
                     saturate",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

impl Class {
    /// Cores that its schedule keeps busy in handlers.
    fn cores_needed(&self) -> f64 {
        // A share of a ceiling that includes the handler is that share of a core.
        match (self.handler.kind, self.load) {
            (_, Load::ShareOfCeiling { share, .. }) => share,
            (Work::Spin, load) => {
                load.offered_per_s(0.0).unwrap_or(0.0) * self.handler.mean_us() / 1e6
            }
            _ => 0.0,
        }
    }

    fn check(&self) -> Result<(), String> {
        let name_fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(name_fits) {
            return Err("a name is made of letters, digits, _ and -".into());
        }
        if !(1..=SESSIONS_MAX).contains(&self.sessions) {
            return Err(format!(
                "sessions = {} is not in 1 to {SESSIONS_MAX}",
                self.sessions
            ));
        }
        if !FRAME_BYTES.contains(&self.frame_bytes) {
            let (min, max) = (FRAME_BYTES.start(), FRAME_BYTES.end());
            return Err(format!(
                "frame_bytes = {} is not in {min} to {max}",
                self.frame_bytes
            ));
        }
        self.check_load()?;
        self.check_handler()
    }

    fn check_load(&self) -> Result<(), String> {
        let rate_fits = |what: &str, per_s: f64| {
            if per_s > 0.0 && per_s <= RATE_MAX {
                return Ok(());
            }
            Err(format!(
                "{what} = {per_s} is impossible: it must be above 0 and at most {RATE_MAX}"
            ))
        };
        match self.load {
            Load::Rate { per_s, .. } => rate_fits("rate_per_s", per_s),
            Load::ShareOfCeiling { share, .. } if !(share > 0.0 && share <= 2.0) => Err(format!(
                "share_of_ceiling = {share} is impossible: it must be above 0 and at most 2"
            )),
            Load::Bursts { every_ms, frames } => {
                if !(0.1..=60_000.0).contains(&every_ms) {
                    return Err(format!("every_ms = {every_ms} is not in 0.1 to 60000"));
                }
                rate_fits(
                    "the rate of its bursts",
                    f64::from(frames) * 1000.0 / every_ms,
                )
            }
            Load::Saturate { depth } if !(1..=4096).contains(&depth) => {
                Err(format!("depth = {depth} is not in 1 to 4096"))
            }
            Load::Saturate { .. } if !self.replies => Err(
                "saturate needs replies = true: without answers nobody knows what is on its way"
                    .into(),
            ),
            Load::ShareOfCeiling { .. } if !self.replies => {
                Err("share_of_ceiling needs replies = true: its ceiling is measured by them".into())
            }
            Load::ShareOfCeiling { .. } if self.role == Role::Client => {
                Err("share_of_ceiling is for role = \"server\"".into())
            }
            Load::ShareOfCeiling { .. } | Load::Saturate { .. } | Load::Silent => Ok(()),
        }
    }

    fn check_handler(&self) -> Result<(), String> {
        let fits = |what: &str, us: f64| {
            if (0.0..=HANDLER_US_MAX).contains(&us) {
                return Ok(());
            }
            Err(format!(
                "handler: {what} = {us} is not in 0 to {HANDLER_US_MAX}"
            ))
        };
        match self.handler.cost {
            Cost::Fixed { us } => fits("us", us),
            Cost::Exponential { mean_us } => fits("mean_us", mean_us),
            Cost::Uniform { min_us, max_us } if min_us > max_us => Err(format!(
                "handler: min_us = {min_us} is above max_us = {max_us}"
            )),
            Cost::Uniform { min_us, max_us } => {
                fits("min_us", min_us)?;
                fits("max_us", max_us)
            }
        }
    }
}
