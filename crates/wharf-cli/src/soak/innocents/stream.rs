//! Numbers that must come one after the other: what is missing, doubled, late.

use std::collections::BTreeSet;

/// What has come of one numbered stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    next: u32,
    begun: bool,
    missing: BTreeSet<u32>,
    pub(super) came: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
}

impl Stream {
    /// One whose first number is 0.
    pub(super) fn from_zero() -> Self {
        Self {
            begun: true,
            ..Self::default()
        }
    }

    /// This number came. One that starts anywhere starts with the first that comes.
    pub(super) fn take(&mut self, number: u32) {
        if !self.begun {
            (self.begun, self.next) = (true, number);
        }
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            self.came += 1;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
            self.came += 1;
        } else {
            self.doubled += 1;
        }
    }

    /// Numbers that were left out.
    pub(super) fn missing(&self) -> u64 {
        self.missing.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u32]) -> (u64, u64, u64, u64) {
        let mut stream = Stream::from_zero();
        numbers.iter().for_each(|&number| stream.take(number));
        let Stream {
            came,
            doubled,
            reordered,
            ..
        } = stream;
        (came, stream.missing(), doubled, reordered)
    }

    #[test]
    fn what_is_missing_doubled_and_late_is_told_apart() {
        assert_eq!(of(&[0, 1, 2]), (3, 0, 0, 0));
        assert_eq!(of(&[0, 2]), (2, 1, 0, 0), "missing");
        assert_eq!(of(&[1]), (1, 1, 0, 0), "the first is missing");
        assert_eq!(of(&[0, 1, 1]), (2, 0, 1, 0), "doubled");
        assert_eq!(of(&[0, 2, 1]), (3, 0, 0, 1), "reordered");
        assert_eq!(of(&[0, 2, 1, 1]), (3, 0, 1, 1), "both");
        let mut anywhere = Stream::default();
        [7, 8, 10].iter().for_each(|&number| anywhere.take(number));
        assert_eq!((anywhere.came, anywhere.missing()), (3, 1));
    }
}
