//! Reads the tables of a topology file key by key, so that whatever is wrong is named with its
//! place.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Faults;
use super::nearest::{did_you_mean, nearest};

/// A value of the file.
pub(super) type Node<'t> = Spanned<DeValue<'t>>;

/// A text of the file and where it stands.
pub(super) type Placed = (String, usize);

/// One entry of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a, 't> {
    pub(super) key: &'a str,
    /// Where the key stands.
    pub(super) at: usize,
    pub(super) value: &'a Node<'t>,
}

/// The entries of a table, in the order of the file.
pub(super) fn entries<'a, 't>(table: &'a DeTable<'t>) -> Vec<Entry<'a, 't>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref(),
            at: key.span().start,
            value,
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// A table being read: each key is taken once, what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Fields<'a, 't> {
    /// What the table describes, for messages: `network "game"`.
    pub(super) what: String,
    /// Where it begins.
    pub(super) at: usize,
    left: Vec<Entry<'a, 't>>,
}

/// A key that is right in another table, and the end of the sentence that begins with it.
pub(super) type Elsewhere<'w> = (&'static str, &'w str);

impl<'a, 't> Fields<'a, 't> {
    /// The table; a value that is none is a fault.
    pub(super) fn new(
        what: String,
        at: usize,
        value: &'a Node<'t>,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            let found = found(value.get_ref());
            faults.add(at, format!("{what} is {found}; it must be a table"));
            return None;
        };
        let left = entries(table);
        Some(Self { what, at, left })
    }

    /// Adds a fault about this table.
    pub(super) fn fault(&self, faults: &mut Faults<'_>, at: usize, message: &str) {
        faults.add(at, format!("{}: {message}", self.what));
    }

    /// Where this key stands, if it has not been taken.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        let entry = self.left.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.span().start)
    }

    /// Whether the key is there and has not been taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    /// Takes a key.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a Node<'t>> {
        let index = self.left.iter().position(|entry| entry.key == key)?;
        Some(self.left.remove(index).value)
    }

    fn wrong_type(&self, faults: &mut Faults<'_>, key: &str, value: &Node<'_>, wanted: &str) {
        let found = found(value.get_ref());
        let message = format!("{key} is {found}; it must be {wanted}");
        self.fault(faults, value.span().start, &message);
    }

    /// Takes a whole number within limits.
    pub(super) fn number(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
        limits: RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = self.take(key)?;
        self.number_of(faults, key, value, limits)
    }

    pub(super) fn number_of(
        &self,
        faults: &mut Faults<'_>,
        key: &str,
        value: &Node<'_>,
        limits: RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => number,
            other => {
                let wanted = format!(
                    "a whole number{}{}",
                    Unit::of(key).name(),
                    number_hint(key, other)
                );
                self.wrong_type(faults, key, value, &wanted);
                return None;
            }
        };
        let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
        if let Some(parsed) = parsed.filter(|parsed| limits.contains(parsed)) {
            return Some(parsed);
        }
        let (least, most) = (*limits.start(), *limits.end());
        let small = parsed.is_some_and(|parsed| parsed < least) || number.as_str().starts_with('-');
        let bound = match (small, least) {
            (true, 0) => "must not be negative".to_owned(),
            (true, _) => format!("must be at least {least}"),
            (false, _) => format!("must be at most {most}"),
        };
        let message = format!("{key} is {number}; it {bound}");
        self.fault(faults, value.span().start, &message);
        None
    }

    /// Takes a count or size.
    pub(super) fn size(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
        limits: RangeInclusive<i64>,
    ) -> Option<usize> {
        let number = self.number(faults, key, limits)?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Takes a time in the unit that the key's name ends with.
    pub(super) fn time(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
        limits: RangeInclusive<i64>,
    ) -> Option<Duration> {
        let number = self.number(faults, key, limits)?;
        let number = u64::try_from(number).unwrap_or(0);
        Some(match Unit::of(key) {
            Unit::Micros => Duration::from_micros(number),
            Unit::Seconds => Duration::from_secs(number),
            Unit::Millis | Unit::Bytes | Unit::One => Duration::from_millis(number),
        })
    }

    /// Takes a time of which 0 means "off": the outer `None` is an absent key.
    #[expect(
        clippy::option_option,
        reason = "absent and switched off are two answers"
    )]
    pub(super) fn time_or_off(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
    ) -> Option<Option<Duration>> {
        let time = self.time(faults, key, 0..=YEAR_MS)?;
        Some((!time.is_zero()).then_some(time))
    }

    /// Takes true or false.
    pub(super) fn flag(&mut self, faults: &mut Faults<'_>, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(faults, key, value, "true or false, without quotes");
        }
        flag
    }

    /// Takes a text.
    pub(super) fn text(&mut self, faults: &mut Faults<'_>, key: &str) -> Option<Placed> {
        let value = self.take(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(faults, key, value, "a text in quotes");
        }
        Some((text?.to_owned(), value.span().start))
    }

    /// Takes one of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let (text, at) = self.text(faults, key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let right: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let mend = did_you_mean(&text, &right);
            self.fault(faults, at, &format!("unknown {key} \"{text}\"{mend}"));
        }
        found.map(|(_, value)| *value)
    }

    /// Takes a list; a value that is none is a fault.
    pub(super) fn list(
        &mut self,
        faults: &mut Faults<'_>,
        key: &str,
        of: &str,
    ) -> Option<&'a [Node<'t>]> {
        let value = self.take(key)?;
        let list = value.get_ref().as_array();
        if list.is_none() {
            self.wrong_type(faults, key, value, &format!("a list of {of}"));
        }
        list.map(|list| &list[..])
    }

    /// Takes a table inside this one.
    pub(super) fn table(&mut self, faults: &mut Faults<'_>, key: &str) -> Option<Fields<'a, 't>> {
        let value = self.take(key)?;
        let what = format!("{}: {key}", self.what);
        Fields::new(what, value.span().start, value, faults)
    }

    /// Whether one of the keys left was probably meant to be one of these.
    pub(super) fn has_nearly(&self, keys: &[&str]) -> bool {
        let mut left = self.left.iter();
        left.any(|entry| nearest(entry.key, keys).is_some())
    }

    /// What is left is unknown, or belongs elsewhere.
    pub(super) fn finish(
        self,
        faults: &mut Faults<'_>,
        known: &[&str],
        elsewhere: &[Elsewhere<'_>],
    ) {
        for Entry { key, at, .. } in &self.left {
            if let Some((_, why)) = elsewhere.iter().find(|(other, _)| other == key) {
                self.fault(faults, *at, &format!("\"{key}\" {why}"));
                continue;
            }
            let mend = did_you_mean(key, known);
            self.fault(faults, *at, &format!("unknown key \"{key}\"{mend}"));
        }
    }
}

/// A year: a longer time is a slip of the unit.
pub(super) const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

/// The unit that a key is in, which its name ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Micros,
    Millis,
    Seconds,
    Bytes,
    One,
}

impl Unit {
    fn of(key: &str) -> Self {
        if key.ends_with("per_s") {
            return Self::One;
        }
        match key.rsplit('_').find(|part| *part != "max") {
            Some("us") => Self::Micros,
            Some("ms") => Self::Millis,
            Some("s") => Self::Seconds,
            Some("bytes") => Self::Bytes,
            _ => Self::One,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Micros => " of microseconds",
            Self::Millis => " of milliseconds",
            Self::Seconds => " of seconds",
            Self::Bytes => " of bytes",
            Self::One => "",
        }
    }
}

/// What was found, for a message about a wrong type.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", shortened(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the fraction {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The text, or its beginning: a message is read by a person.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// How the number was probably meant.
fn number_hint(key: &str, value: &DeValue<'_>) -> String {
    let meant = match value {
        DeValue::String(text) => {
            let text = text.trim();
            let split = text.find(|c: char| !c.is_ascii_digit() && c != '_');
            let (digits, suffix) = text.split_at(split.unwrap_or(text.len()));
            let number = digits.replace('_', "").parse::<i64>().ok();
            number.and_then(|number| scaled(key, number, suffix.trim()))
        }
        DeValue::Float(number) => {
            let whole = number.as_str().strip_suffix(".0");
            whole.and_then(|whole| whole.parse().ok())
        }
        _ => None,
    };
    match meant {
        Some(meant) if key.contains(' ') => format!(": {meant}"),
        Some(meant) => format!(": {key} = {meant}"),
        None => String::new(),
    }
}

/// A number with a unit, in the unit of the key.
fn scaled(key: &str, number: i64, suffix: &str) -> Option<i64> {
    let suffix = suffix.to_lowercase();
    let per = match (Unit::of(key), suffix.as_str()) {
        (_, "") | (Unit::Bytes, "b") => return Some(number),
        (Unit::Bytes, "k" | "kb" | "kib") => return number.checked_mul(1024),
        (Unit::Bytes, "m" | "mb" | "mib") => return number.checked_mul(1024 * 1024),
        (Unit::Micros, _) => 1,
        (Unit::Millis, _) => 1000,
        (Unit::Seconds, _) => 1_000_000,
        (Unit::Bytes | Unit::One, _) => return None,
    };
    let micros = match suffix.as_str() {
        "us" => 1,
        "ms" => 1000,
        "s" | "sec" | "seconds" => 1_000_000,
        "m" | "min" | "minutes" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    number.checked_mul(micros).map(|micros| micros / per)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_put_into_the_unit_of_the_key() {
        assert_eq!(scaled("idle_timeout_ms", 30, "s"), Some(30_000));
        assert_eq!(scaled("keepalive_s", 2, "min"), Some(120));
        assert_eq!(scaled("turn_us_max", 5, "ms"), Some(5000));
        assert_eq!(scaled("frame_bytes_max", 64, "KiB"), Some(65_536));
        assert_eq!(scaled("workers", 4, "s"), None);
        assert_eq!(scaled("keepalive_s", i64::MAX, "h"), None);
    }
}
