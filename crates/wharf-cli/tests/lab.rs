//! `wharf lab`, run for real and briefly: what it refuses, and what it writes. No test looks at how
//! fast anything was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{json, number, stderr, text, wharf};
use serde_json::Value;

/// A folder of this test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wharf-lab-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Left behind by a run that was killed.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SMALL: &str = r#"
    name = "small"
    description = "players beside a link that never stops, and one that nobody answers"

    [[classes]]
    name = "game"
    role = "server"
    class = "high"
    sessions = 4
    load = { rate_per_s = 200 }
    handler = { kind = "spin", us = 20 }

    [[classes]]
    name = "chat"
    role = "client"
    class = "low"
    sessions = 3
    load = { saturate = true, depth = 2 }
    handler = { kind = "sleep", us = { min_us = 500, max_us = 1500 } }

    [[classes]]
    name = "log"
    role = "client"
    class = "low"
    load = { bursts = { every_ms = 50, frames = 5 } }
    replies = false
"#;

/// Less play where a call takes a twentieth of a millisecond, as under Wine: at 60 frames a second
/// and with something else to do on the machine, players alone have more to do than fits.
fn small() -> String {
    let rate = if cfg!(windows) { 20 } else { 200 };
    SMALL.replace("rate_per_s = 200", &format!("rate_per_s = {rate}"))
}

fn run(folder: &Folder, more: &str) -> (Value, i32) {
    let workload = folder.file("small.toml", &small());
    let out = folder.0.display();
    json(&wharf(&format!(
        "lab --workload {workload} --out {out} --json {more}"
    )))
}

/// The runs in the report of this layout and phase, of one class.
fn runs<'a>(report: &'a Value, layout: &str, phase: &str, class: &str) -> Vec<&'a Value> {
    let all = report["runs"].as_array().unwrap().iter();
    let found =
        all.filter(|run| run["layout"] == layout && run["phase"] == phase && run["class"] == class);
    found.collect()
}

#[test]
fn two_layouts_are_compared_and_every_answer_is_checked() {
    let folder = Folder::new("two");
    // Under Wine the lower lane may have to wait for a second.
    let seconds = if cfg!(windows) { 4 } else { 1 };
    let more = format!("--seconds {seconds} --rounds 1 --layouts lanes,shared");
    let (report, code) = run(&folder, &more);
    assert_eq!(code, 0, "{report}");
    assert!(number(&report, "verified") > 300, "{report}");
    for fault in ["lost", "doubled", "reordered", "corrupt", "cut"] {
        assert_eq!(number(&report["faults"], fault), 0, "{fault}");
    }
    assert_eq!(report["low_caps_held"], true);
    let layouts = report["variants"][0]["layouts"].as_array().unwrap();
    let names: Vec<_> = layouts.iter().map(|layout| &layout["name"]).collect();
    assert_eq!(names, ["lanes", "shared"]);
    // Three links that never stop would hold more workers than one, were they let.
    assert_eq!(number(&layouts[0], "low_cap"), 1);
    assert_eq!(number(&layouts[0], "low_at_once_max"), 1);
    for layout in ["lanes", "shared"] {
        for (class, phase, answers) in [
            ("game", "full", true),
            ("game", "low_off", true),
            ("chat", "full", true),
            ("chat", "low_off", false),
            ("log", "full", false),
        ] {
            let found = runs(&report, layout, phase, class);
            assert_eq!(found.len(), 1, "{layout} {phase} {class}");
            let verified = number(found[0], "verified");
            assert_eq!(
                verified > 0,
                answers,
                "{layout} {phase} {class}: {verified}"
            );
            assert_eq!(found[0]["p99_us"].is_number(), answers, "{}", found[0]);
        }
        let log = &runs(&report, layout, "full", "log")[0]["frames_per_s"];
        assert!(
            log.as_f64().unwrap() > 20.0,
            "handled without answers: {log}"
        );
    }
    let verdict = report["variants"][0]["verdict"].as_str().unwrap();
    assert!(
        verdict.contains("lanes") && verdict.contains("a look, not a finding"),
        "{verdict}"
    );
    written(&folder, &report);
}

fn written(folder: &Folder, report: &Value) {
    let file: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_eq!(&file, report, "the file is what was printed");
    let page = folder.read("report.html");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.matches("<svg").count() >= 4);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for part in [
        "players beside a link",
        "prefers-color-scheme: dark",
        "<title>",
        "lanes",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(
            !page.contains(outside),
            "{outside}: the page is to need nothing else"
        );
    }
    for layout in ["lanes", "shared"] {
        let file = folder.0.join(format!("{layout}.toml"));
        let checked = wharf(&format!("check {}", file.display()));
        assert!(checked.status.success(), "{}", stderr(&checked));
    }
}

#[test]
fn every_layout_serves_every_class() {
    let folder = Folder::new("all");
    let all = "port_per_network,shared,selective,selective_split,dispatch,dispatch_split,lanes,\
               dedicated";
    let (report, code) = run(
        &folder,
        &format!("--seconds 0.3 --rounds 1 --layouts {all}"),
    );
    assert_eq!(code, 0, "{report}");
    let layouts = report["variants"][0]["layouts"].as_array().unwrap();
    assert_eq!(layouts.len(), 8);
    for layout in layouts {
        let name = layout["name"].as_str().unwrap();
        assert!(
            number(layout, "low_at_once_max") <= number(layout, "low_cap"),
            "{name}"
        );
        assert!(
            number(runs(&report, name, "full", "game")[0], "verified") > 0,
            "{name}"
        );
        let handed = layout["hand_offs_per_frame"].as_f64().unwrap() > 0.0;
        assert_eq!(handed, name.starts_with("dispatch"), "{name}");
    }
}

#[test]
fn a_ceiling_is_looked_for_by_saturating() {
    let folder = Folder::new("ceiling");
    let (report, code) = run(
        &folder,
        "--seconds 0.3 --rounds 1 --layouts lanes,shared --ceiling",
    );
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["variants"][0]["measure"], "frames_per_s");
    let runs = runs(&report, "lanes", "ceiling", "game");
    assert_eq!(runs.len(), 1);
    assert!(runs[0]["offered_per_s"].is_null());
    assert_eq!(
        report["variants"][0]["comparisons"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_table_and_a_paragraph_are_printed() {
    let folder = Folder::new("text");
    let workload = folder.file("small.toml", &small());
    let out = folder.0.display();
    let output = wharf(&format!(
        "lab -w {workload} -o {out} -t 0.2 -r 1 -l selective,lanes"
    ));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = text(&output.stdout);
    for part in [
        "4/4",
        "p99.9",
        "selective",
        "low at once",
        "answers checked",
        "report.html",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Refused with exit code 2 and these words, and nothing was written.
fn refused(folder: &Folder, arguments: &str, words: &[&str]) {
    let out = folder.0.join("out");
    let output = wharf(&format!("lab --out {} {arguments}", out.display()));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments}: {said}");
    }
    assert!(
        !Path::new(&out).exists(),
        "{arguments}: nothing starts, nothing is left"
    );
}

#[test]
fn what_is_wrong_is_refused_before_anything_starts() {
    let folder = Folder::new("refused");
    let slow = folder.file(
        "slow.toml",
        &SMALL.replace("rate_per_s = 200", "rate_per_s = -3"),
    );
    let over = folder.file("over.toml", &SMALL.replace("us = 20 }", "us = 9000000 }"));
    let typo = folder.file("typo.toml", &SMALL.replace("sessions = 4", "sesions = 4"));
    for (arguments, words) in [
        (
            "--layouts lane",
            &["no layout \"lane\"", "did you mean \"lanes\"?"][..],
        ),
        ("--layouts lanes,lanes", &["names lanes twice"]),
        (
            "--workload argumant",
            &["no workload \"argumant\"", "did you mean \"argument\"?"],
        ),
        ("--workload ./none.toml", &["./none.toml"]),
        ("--seconds 0", &["must be more than 0"]),
        ("--rounds 0", &["0 is not in"]),
        (
            &format!("-w {slow}"),
            &["slow.toml", "class game", "-3 is impossible"],
        ),
        (&format!("-w {over}"), &["cores for the handlers alone"]),
        (
            &format!("-w {typo}"),
            &["typo.toml:9:5", "did you mean \"sessions\"?"],
        ),
    ] {
        refused(&folder, arguments, words);
    }
}

#[test]
fn the_process_under_test_names_what_is_wrong() {
    let folder = Folder::new("server");
    let workload = folder.file("small.toml", &small());
    let topology = folder.file(
        "t.toml",
        "[port.a]\nworkers = 1\n[network.game]\nlisten = \"127.0.0.1:0\"\nprot = \"a\"\n",
    );
    let output = wharf(&format!(
        "lab-server --topology {topology} --workload {workload}"
    ));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("did you mean \"port\"?"),
        "{}",
        stderr(&output)
    );
    let output = wharf(&format!(
        "lab-server --topology {topology} --workload argument --variant spni"
    ));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("did you mean \"spin\"?"),
        "{}",
        stderr(&output)
    );
}
