//! The thread map as a table for people: the text of `wharf check`.

use std::fmt;
use std::time::Duration;

use super::map::{LaneRow, NetworkRow, ThreadMap, ThreadRow, WorkRow, count};

impl fmt::Display for ThreadMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workers, cores) = (count(self.threads, "worker"), count(self.cores, "core"));
        writeln!(f, "{workers} on {cores}")?;
        writeln!(f, "\nworkers")?;
        let mut threads = vec![
            [
                "", "workers", "limit", "at once", "lane", "least", "most", "starves", "nice",
                "cores", "spin", "nap",
            ]
            .map(String::from)
            .to_vec(),
        ];
        for row in &self.rows {
            threads.extend(
                row.lanes
                    .iter()
                    .enumerate()
                    .map(|(i, lane)| thread_cells(row, i, lane)),
            );
        }
        table(f, &threads)?;
        writeln!(f, "\nnetworks, and what each may take at most")?;
        let heads = [
            "",
            "role",
            "address",
            "served by",
            "lane",
            "threads",
            "sessions",
            "queue each",
            "frame",
            "memory",
        ];
        let mut networks = vec![heads.map(String::from).to_vec()];
        networks.extend(self.networks.iter().map(network_cells));
        table(f, &networks)?;
        if !self.work.is_empty() {
            writeln!(f, "\nwork that is no network's: strands and jobs")?;
            let heads = ["", "served by", "lane", "threads"].map(String::from);
            let mut work = vec![heads.to_vec()];
            work.extend(self.work.iter().map(work_cells));
            table(f, &work)?;
        }
        let ceiling = self.memory_bytes_max.map_or("none".to_owned(), |most| {
            bytes(u64::try_from(most).unwrap_or(u64::MAX))
        });
        writeln!(f, "\nlimits of peers; memory of all: {ceiling}")?;
        let heads = self.networks.first().map_or(&[][..], |row| &row.limits);
        let heads = heads.iter().map(|(what, _)| (*what).to_owned());
        let mut limits = vec![std::iter::once(String::new()).chain(heads).collect()];
        limits.extend(self.networks.iter().map(|row| {
            let cells = row.limits.iter().map(|(_, limit)| limit.clone());
            std::iter::once(row.name.clone()).chain(cells).collect()
        }));
        table(f, &limits)?;
        if !self.warnings.is_empty() {
            writeln!(f, "\nworth knowing")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  - {warning}")?;
        }
        Ok(())
    }
}

fn thread_cells(row: &ThreadRow, index: usize, lane: &LaneRow) -> Vec<String> {
    let kind = if row.is_pool { "pool" } else { "port" };
    let own = |text: String| if index == 0 { text } else { String::new() };
    let cores: Vec<_> = row.cores.iter().map(usize::to_string).collect();
    let cores = if cores.is_empty() {
        "any".to_owned()
    } else {
        cores.join(",")
    };
    let micros = |time: Duration| match time.as_micros() {
        0 => "no".to_owned(),
        micros => format!("{micros} us"),
    };
    vec![
        own(format!("{kind} {}", row.name)),
        own(row.workers.to_string()),
        own(row.workers_limit.to_string()),
        own(at_once(row)),
        lane_cell(lane),
        lane.workers_least.to_string(),
        lane.workers_most.to_string(),
        lane.starve_after
            .map_or("-".to_owned(), |after| format!("{} ms", after.as_millis())),
        match lane.nice {
            Some(nice) => nice.to_string(),
            None => own(row.nice.map_or("-".to_owned(), |nice| nice.to_string())),
        },
        own(cores),
        own(micros(row.spin)),
        own(micros(row.nap)),
    ]
}

/// The lane's names.
fn lane_cell(lane: &LaneRow) -> String {
    match lane.also.as_slice() {
        [] => lane.name.clone(),
        also => format!("{} ({})", lane.name, also.join(", ")),
    }
}

/// How many of its workers the system lets run at once; a pool has no kernel queue that limits it.
fn at_once(row: &ThreadRow) -> String {
    match row.concurrency {
        None => "all".to_owned(),
        Some(0) => "cores".to_owned(),
        Some(most) => most.to_string(),
    }
}

fn network_cells(row: &NetworkRow) -> Vec<String> {
    let serves = match &row.pool {
        Some(pool) => format!("pool {pool} (port {})", row.port),
        None => format!("port {}", row.port),
    };
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    vec![
        row.name.clone(),
        if row.is_server { "listens" } else { "connects" }.to_owned(),
        row.addrs.join(" "),
        serves,
        row.lane.clone(),
        row.workers_most.to_string(),
        row.sessions_max.to_string(),
        bytes(wide(row.send_queue_bytes_max)),
        bytes(wide(row.frame_bytes_max)),
        bytes(row.memory_bytes_max),
    ]
}

fn work_cells(row: &WorkRow) -> Vec<String> {
    vec![
        row.name.clone(),
        row.on.to_string(),
        row.lane.clone(),
        row.workers_most.to_string(),
    ]
}

/// Bytes in the largest unit that leaves at least one, with a decimal where it tells something.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let steps = ((number.ilog2() / 10) as usize).min(UNITS.len());
    let one = 1u128 << (10 * steps);
    let tenths = u128::from(number) * 10 / one;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let unit = UNITS[steps - 1];
    if tenth == 0 || whole >= 100 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {unit}")
    }
}

/// Columns as wide as their widest cell; numbers are short enough to stand on the left like all.
fn table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short_and_true() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (262_144, "256 KiB"),
            (278_528 * 20_000, "5.1 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
