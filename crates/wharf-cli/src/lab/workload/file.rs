//! The text of a workload file, strictly: an unknown key is an error with the nearest right one.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::nearest::nearest;
use super::{Arrivals, Change, Class, Cost, Handler, Load, Rank, Role, Variant, Work, Workload};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    description: String,
    classes: Vec<RawClass>,
    #[serde(default)]
    variants: Vec<RawVariant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClass {
    name: String,
    role: Role,
    class: Rank,
    #[serde(default = "one")]
    sessions: u32,
    load: RawLoad,
    #[serde(default = "default_frame_bytes")]
    frame_bytes: u16,
    handler: Option<RawHandler>,
    #[serde(default = "yes")]
    replies: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariant {
    name: String,
    classes: BTreeMap<String, RawChange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChange {
    handler: Option<RawHandler>,
    load: Option<RawLoad>,
}

/// One of its ways must be there, and the keys of that way only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLoad {
    rate_per_s: Option<f64>,
    share_of_ceiling: Option<f64>,
    arrivals: Option<Arrivals>,
    saturate: Option<bool>,
    depth: Option<u32>,
    bursts: Option<RawBursts>,
    silent: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBursts {
    every_ms: f64,
    frames: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHandler {
    kind: Work,
    us: Option<RawCost>,
    exponential_mean_us: Option<f64>,
}

/// `us = 20`, or `us = { min_us = 5, max_us = 50 }`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "us is a number, or { min_us = N, max_us = N }")]
enum RawCost {
    Fixed(f64),
    Uniform(RawUniform),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUniform {
    min_us: f64,
    max_us: f64,
}

fn one() -> u32 {
    1
}

fn default_frame_bytes() -> u16 {
    64
}

fn yes() -> bool {
    true
}

/// Reads, resolves and checks.
pub(super) fn parse(text: &str, file: &str) -> Result<Workload, String> {
    let raw: File = toml::from_str(text).map_err(|error| located(&error, text, file))?;
    let workload = resolve(raw).map_err(|error| format!("workload file {file}: {error}"))?;
    workload
        .check()
        .map_err(|error| format!("workload file {file}: {error}"))?;
    Ok(workload)
}

fn located(error: &toml::de::Error, text: &str, file: &str) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..at];
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + before
        .iter()
        .rev()
        .take_while(|&&byte| byte != b'\n')
        .count();
    let message = error.message();
    format!(
        "workload file {file}:{line}:{column}: {message}{}",
        hint(message)
    )
}

/// Serde names the choices in backticks behind the wrong name; the test below holds it to that.
fn hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(wrong) if message.starts_with("unknown ") => {
            nearest(wrong, &quoted.collect::<Vec<_>>())
        }
        _ => String::new(),
    }
}

fn resolve(raw: File) -> Result<Workload, String> {
    let classes = raw.classes.into_iter().map(|class| {
        let named = |error: String| format!("class {}: {error}", class.name);
        Ok(Class {
            load: class.load.resolve().map_err(named)?,
            handler: match class.handler {
                Some(handler) => handler.resolve().map_err(named)?,
                None => Handler::NONE,
            },
            role: class.role,
            class: class.class,
            sessions: class.sessions,
            frame_bytes: class.frame_bytes,
            replies: class.replies,
            name: class.name,
        })
    });
    let variants = raw.variants.into_iter().map(|variant| {
        let changes = variant.classes.into_iter().map(|(class, change)| {
            let named = |error: String| format!("variant {}: class {class}: {error}", variant.name);
            let change = Change {
                handler: change
                    .handler
                    .map(|h| h.resolve())
                    .transpose()
                    .map_err(named)?,
                load: change
                    .load
                    .map(|l| l.resolve())
                    .transpose()
                    .map_err(named)?,
            };
            Ok((class, change))
        });
        let changes = changes.collect::<Result<_, String>>()?;
        Ok(Variant {
            name: variant.name,
            changes,
        })
    });
    Ok(Workload {
        name: raw.name,
        description: raw.description,
        classes: classes.collect::<Result<_, String>>()?,
        variants: variants.collect::<Result<_, String>>()?,
    })
}

impl RawLoad {
    fn resolve(&self) -> Result<Load, String> {
        let ways = [
            ("rate_per_s", self.rate_per_s.is_some()),
            ("share_of_ceiling", self.share_of_ceiling.is_some()),
            ("saturate", self.saturate == Some(true)),
            ("bursts", self.bursts.is_some()),
            ("silent", self.silent == Some(true)),
        ];
        let said: Vec<_> = ways.iter().filter(|way| way.1).map(|way| way.0).collect();
        let [way] = said[..] else {
            return Err(format!(
                "load must say one of rate_per_s, share_of_ceiling, saturate = true, bursts, \
                 silent = true; it says {}",
                if said.is_empty() {
                    "none".into()
                } else {
                    said.join(" and ")
                }
            ));
        };
        if self.arrivals.is_some() && !matches!(way, "rate_per_s" | "share_of_ceiling") {
            return Err(format!("load: arrivals does not go with {way}"));
        }
        if self.depth.is_some() && way != "saturate" {
            return Err(format!("load: depth does not go with {way}"));
        }
        let arrivals = self.arrivals.unwrap_or_default();
        Ok(
            match (self.rate_per_s, self.share_of_ceiling, &self.bursts) {
                (Some(per_s), ..) => Load::Rate { per_s, arrivals },
                (_, Some(share), _) => Load::ShareOfCeiling { share, arrivals },
                (_, _, Some(bursts)) => Load::Bursts {
                    every_ms: bursts.every_ms,
                    frames: bursts.frames,
                },
                _ if way == "saturate" => Load::Saturate {
                    depth: self.depth.unwrap_or(1),
                },
                _ => Load::Silent,
            },
        )
    }
}

impl RawHandler {
    fn resolve(&self) -> Result<Handler, String> {
        let cost = match (&self.us, self.exponential_mean_us) {
            (Some(_), Some(_)) => {
                return Err("handler: us and exponential_mean_us exclude each other".into());
            }
            (Some(RawCost::Fixed(us)), None) => Cost::Fixed { us: *us },
            (Some(RawCost::Uniform(uniform)), None) => Cost::Uniform {
                min_us: uniform.min_us,
                max_us: uniform.max_us,
            },
            (None, Some(mean_us)) => Cost::Exponential { mean_us },
            (None, None) if self.kind == Work::None => return Ok(Handler::NONE),
            (None, None) => {
                return Err(
                    "handler: say us = N, us = { min_us, max_us } or exponential_mean_us".into(),
                );
            }
        };
        if self.kind == Work::None {
            return Err("handler: kind = \"none\" takes no time".into());
        }
        Ok(Handler {
            kind: self.kind,
            cost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "x"
        [[classes]]
        name = "game"
        role = "server"
        class = "high"
        load = { rate_per_s = 100 }
    "#;

    #[test]
    fn every_sample_is_right_and_runs_on_two_cores() {
        for name in Workload::sample_names() {
            let workload = Workload::find(name).unwrap();
            assert_eq!(workload.name, name);
            assert!(!workload.description.is_empty(), "{name}");
            workload.check_for(2).unwrap();
        }
        let argument = Workload::find("argument").unwrap();
        let of = |variant: &str| argument.variant(variant).unwrap().classes[1].handler;
        assert_eq!(
            (of("spin").kind, of("spin").mean_us()),
            (Work::Spin, 2000.0)
        );
        assert_eq!(
            (of("sleep").kind, of("sleep").mean_us()),
            (Work::Sleep, 20_000.0)
        );
    }

    const LOAD: &str = "{ rate_per_s = 100 }";

    /// What of the good file is replaced, by what, and what the error must say.
    const WRONG: &[(&str, &str, &str)] = &[
        ("role", "rolle", "w.toml:5:9: unknown field `rolle`"),
        ("role", "rolle", "did you mean \"role\"?"),
        ("\"server\"", "\"servre\"", "did you mean \"server\"?"),
        ("\"high\"", "\"low\"", "nothing to protect"),
        (
            LOAD,
            "{ rate_per_second = 1 }",
            "did you mean \"rate_per_s\"?",
        ),
        (LOAD, "{ rate_per_s = 0 }", "rate_per_s = 0 is impossible"),
        (LOAD, "{ rate_per_s = -5 }", "rate_per_s = -5 is impossible"),
        (
            LOAD,
            "{ rate_per_s = nan }",
            "rate_per_s = NaN is impossible",
        ),
        (LOAD, "{ rate_per_s = 1e12 }", "is impossible"),
        (
            LOAD,
            "{ share_of_ceiling = 0.0 }",
            "share_of_ceiling = 0 is impossible",
        ),
        (LOAD, "{ saturate = true, depth = 0 }", "depth = 0"),
        (
            LOAD,
            "{ saturate = true, arrivals = \"even\" }",
            "arrivals does not go with saturate",
        ),
        (
            LOAD,
            "{ saturate = true }\nreplies = false",
            "needs replies",
        ),
        (
            LOAD,
            "{ bursts = { every_ms = 0, frames = 3 } }",
            "every_ms = 0",
        ),
        (
            LOAD,
            "{ bursts = { every_ms = 5, frames = 0 } }",
            "is impossible",
        ),
        (
            LOAD,
            "{ silent = true, saturate = true }",
            "saturate and silent",
        ),
        (LOAD, "{ }", "it says none"),
        (LOAD, "{ silent = true }\nsessions = 0", "sessions = 0"),
        (
            LOAD,
            "{ silent = true }\nframe_bytes = 4",
            "frame_bytes = 4",
        ),
        (
            LOAD,
            "{ silent = true }\nhandler = { kind = \"spin\" }",
            "say us = N",
        ),
        (
            LOAD,
            "{ silent = true }\nhandler = { kind = \"spin\", us = { min_us = 9, max_us = 5 } }",
            "above max_us",
        ),
        (
            LOAD,
            "{ silent = true }\nhandler = { kind = \"spin\", us = -1 }",
            "us = -1",
        ),
        (
            LOAD,
            "{ silent = true }\n[[variants]]\nname = \"v\"\nclasses = { gaem = {} }",
            "did you mean \"game\"?",
        ),
    ];

    #[test]
    fn what_is_wrong_is_named() {
        let with = |from: &str, to: &str| {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            parse(&text, "w.toml").expect_err(to)
        };
        for &(from, to, named) in WRONG {
            let error = with(from, to);
            assert!(error.contains("w.toml"), "{error}");
            assert!(error.contains(named), "{to}: {error}");
        }
        assert!(
            parse(&GOOD.replace("100", "1e5"), "w")
                .unwrap()
                .check_for(1)
                .is_ok()
        );
    }

    #[test]
    fn a_load_beyond_the_cores_is_refused() {
        let text = format!("{GOOD}\n handler = {{ kind = \"spin\", us = 30000 }}");
        let workload = parse(&text, "w").unwrap();
        let error = workload.check_for(2).unwrap_err();
        assert!(
            error.contains("3.0 cores") && error.contains("there are 2"),
            "{error}"
        );
        assert!(workload.check_for(4).is_ok());
    }

    #[test]
    fn an_unknown_workload_is_refused_with_the_nearest() {
        let error = Workload::find("arguments").unwrap_err();
        assert!(error.contains("did you mean \"argument\"?"), "{error}");
        assert!(
            Workload::find("./none.toml")
                .unwrap_err()
                .contains("./none.toml")
        );
    }

    #[test]
    fn times_have_the_mean_they_say() {
        let mean = |cost| {
            let handler = Handler {
                kind: Work::Spin,
                cost,
            };
            let sum: f64 = (0..10_000)
                .map(|n| handler.time((f64::from(n) + 0.5) / 10_000.0).as_secs_f64() * 1e6)
                .sum();
            (sum / 10_000.0, handler.mean_us())
        };
        for cost in [
            Cost::Fixed { us: 20.0 },
            Cost::Uniform {
                min_us: 5.0,
                max_us: 50.0,
            },
            Cost::Exponential { mean_us: 30.0 },
        ] {
            let (measured, said) = mean(cost);
            assert!(
                (measured / said - 1.0).abs() < 0.01,
                "{cost:?}: {measured} for {said}"
            );
        }
    }
}
