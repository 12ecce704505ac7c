//! Reads `framing = { kind = .. }`.

use super::fault::Faults;
use super::nearest::listed;
use super::plan::{FramingKind, FramingPlan};
use super::table::{Fields, Node};
use crate::frame::{ByteOrder, Framing};

/// Larger frames do not belong into memory as a whole.
const FRAME_BYTES_MAX: i64 = 1 << 30;

const LENGTH_KEYS: &[&str] = &[
    "prefix_bytes",
    "byte_order",
    "includes_prefix",
    "includes_header",
    "length_counts_from",
    "header_bytes",
    "prefix_offset",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Length,
    Varint,
    Delimiter,
    Lines,
    Raw,
}

const KINDS: &[(&str, Kind)] = &[
    ("length", Kind::Length),
    ("varint", Kind::Varint),
    ("delimiter", Kind::Delimiter),
    ("lines", Kind::Lines),
    ("raw", Kind::Raw),
];

impl Kind {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Length => LENGTH_KEYS,
            Self::Delimiter => &["delimiter"],
            Self::Varint | Self::Lines | Self::Raw => &[],
        }
    }

    fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Reads the table; `None` after a fault.
pub(super) fn read(of: &str, value: &Node<'_>, faults: &mut Faults<'_>) -> Option<FramingPlan> {
    let at = value.span().start;
    if let Some(text) = value.get_ref().as_str() {
        let message = format!(
            "{of}: framing is the text {text:?}; it must be a table: {{ kind = {text:?} }}"
        );
        faults.add(at, message);
        return None;
    }
    let mut fields = Fields::new(format!("{of}: framing"), at, value, faults)?;
    let before = faults.count();
    let Some(kind) = fields.word(faults, "kind", KINDS) else {
        if faults.count() == before {
            let kinds: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            let message = format!("it has no kind; there is {}", listed(&kinds));
            fields.fault(faults, at, &message);
        }
        return None;
    };
    let places: Vec<_> = ["frame_bytes_max", "delimiter"]
        .iter()
        .chain(LENGTH_KEYS)
        .filter_map(|key| Some((*key, fields.place(key)?)))
        .collect();
    let max = fields.size(faults, "frame_bytes_max", 1..=FRAME_BYTES_MAX);
    let read = read_kind(kind, &mut fields, faults);
    let what = fields.what.clone();
    finish(kind, fields, faults);
    let plan = FramingPlan {
        kind: read?,
        frame_bytes_max: max.unwrap_or(default_max()),
    };
    if faults.count() > before {
        return None;
    }
    checked(plan, max, faults, |key| {
        let found = places.iter().find(|(other, _)| *other == key);
        (what.clone(), found.map_or(at, |(_, place)| *place))
    })
}

/// What every kind allows unless told otherwise.
fn default_max() -> usize {
    Framing::raw().frame_bytes_max()
}

fn read_kind(
    kind: Kind,
    fields: &mut Fields<'_, '_>,
    faults: &mut Faults<'_>,
) -> Option<FramingKind> {
    // No header of a protocol is longer than this.
    let header = 0..=65_536;
    Some(match kind {
        Kind::Varint => FramingKind::Varint,
        Kind::Lines => FramingKind::Lines,
        Kind::Raw => FramingKind::Raw,
        Kind::Delimiter => {
            if !fields.has("delimiter") {
                let message = "it has no delimiter; give the text behind each frame, as in \
                               delimiter = \"\\n\"";
                fields.fault(faults, fields.at, message);
            }
            FramingKind::Delimiter(fields.text(faults, "delimiter")?.0)
        }
        Kind::Length => {
            if !fields.has("prefix_bytes") {
                let message = "it has no prefix_bytes; say how long the length is: 1, 2, 4 or 8";
                fields.fault(faults, fields.at, message);
            }
            let orders = [("little", ByteOrder::Little), ("big", ByteOrder::Big)];
            let order = fields.word(faults, "byte_order", &orders);
            let includes_prefix = fields.flag(faults, "includes_prefix");
            let includes_header = fields.flag(faults, "includes_header");
            let header_bytes = fields.size(faults, "header_bytes", header.clone());
            let offset = fields.size(faults, "prefix_offset", header.clone());
            FramingKind::Length {
                byte_order: order.unwrap_or_default(),
                includes_prefix: includes_prefix.unwrap_or(false),
                includes_header: includes_header.unwrap_or(false),
                length_counts_from: fields.size(faults, "length_counts_from", header.clone()),
                header_bytes,
                prefix_offset: offset.unwrap_or(0),
                prefix_bytes: fields.size(faults, "prefix_bytes", header)?,
            }
        }
    })
}

/// What is left: a key of another kind, or an unknown one.
fn finish(kind: Kind, fields: Fields<'_, '_>, faults: &mut Faults<'_>) {
    let known = [&["kind", "frame_bytes_max"], kind.keys()].concat();
    let others: Vec<_> = KINDS
        .iter()
        .filter(|(_, other)| *other != kind)
        .flat_map(|(name, other)| other.keys().iter().map(move |key| (*key, *name)))
        .map(|(key, name)| {
            let why = format!(
                "belongs to kind = \"{name}\", and this is \"{}\"",
                kind.name()
            );
            (key, why)
        })
        .collect();
    let elsewhere: Vec<_> = others
        .iter()
        .map(|(key, why)| (*key, why.as_str()))
        .collect();
    fields.finish(faults, &known, &elsewhere);
}

/// The plan, if a framing can be built of it; the limit is what the framing makes of it.
fn checked(
    plan: FramingPlan,
    asked: Option<usize>,
    faults: &mut Faults<'_>,
    place: impl Fn(&str) -> (String, usize),
) -> Option<FramingPlan> {
    match plan.build() {
        Ok(framing) => {
            let most = framing.frame_bytes_max();
            if let Some(asked) = asked.filter(|asked| *asked > most) {
                let (what, at) = place("frame_bytes_max");
                let message = format!(
                    "{what}: frame_bytes_max is {asked}, and the length can express frames of at \
                     most {most} bytes; lower it, or use a wider prefix"
                );
                faults.add(at, message);
                return None;
            }
            Some(FramingPlan {
                frame_bytes_max: most,
                ..plan
            })
        }
        Err(error) => {
            let (what, at) = place(error.field());
            let (field, value) = (error.field(), error.value());
            let message = format!("{what}: {field} is {value}; {}", error.mend());
            faults.add(at, message);
            None
        }
    }
}
