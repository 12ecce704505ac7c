//! Cores and priorities as Windows has them: pure, so that it is tested on every system.
//!
//! Windows deals its processors out in groups of at most 64, and a thread is bound within one of
//! them. Core `n` of a topology is the `n`th processor, counted through the groups in order, so on
//! a machine with one group the numbers are those of its affinity masks.

/// Where a thread goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The processor group.
    pub(crate) group: u16,
    /// The processors in it, a bit each.
    pub(crate) mask: usize,
    /// Cores asked for that are in another group.
    pub(crate) elsewhere: Vec<usize>,
}

/// The place for these cores on a machine whose groups have so many processors: the group that has
/// most of them, of equal ones the first. `None` if the machine has none of them.
pub(crate) fn place(cores: &[usize], counts: &[u32]) -> Option<Place> {
    let found = |core: usize| {
        let mut left = core;
        for (group, count) in (0_u16..).zip(counts) {
            match left.checked_sub(*count as usize) {
                None => return Some((group, left)),
                Some(rest) => left = rest,
            }
        }
        None
    };
    let many = |group: u16| {
        let inside = cores.iter().filter_map(|core| found(*core));
        inside.filter(|(of, _)| *of == group).count()
    };
    let groups = (0_u16..).zip(counts).map(|(group, _)| group);
    let group = groups.min_by_key(|group| std::cmp::Reverse(many(*group)))?;
    let mut place = Place {
        group,
        mask: 0,
        elsewhere: Vec::new(),
    };
    for core in cores {
        match found(*core) {
            Some((of, bit)) if of == group => place.mask |= 1 << bit,
            _ => place.elsewhere.push(*core),
        }
    }
    (place.mask != 0).then_some(place)
}

/// The priority that stands for a nice value, relative to the process's class. Windows always runs
/// the higher priority first, where a nice value only changes the share; so the outermost two
/// (idle and time critical), which would starve others or be starved, stand for none.
///
/// | nice | -20 to -11 | -10 to -1 | 0 | 1 to 10 | 11 to 19 |
/// |---|---|---|---|---|---|
/// | priority | highest (2) | above normal (1) | normal (0) | below normal (-1) | lowest (-2) |
pub(crate) fn priority_of(nice: i32) -> i32 {
    match nice {
        ..=-11 => 2,
        -10..=-1 => 1,
        0 => 0,
        1..=10 => -1,
        11.. => -2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u16, mask: usize, elsewhere: &[usize]) -> Option<Place> {
        Some(Place {
            group,
            mask,
            elsewhere: elsewhere.to_vec(),
        })
    }

    #[test]
    fn cores_are_counted_through_the_groups() {
        assert_eq!(place(&[0, 3], &[4]), at(0, 0b1001, &[]));
        assert_eq!(place(&[63], &[64]), at(0, 1 << 63, &[]));
        assert_eq!(place(&[64, 66], &[64, 64]), at(1, 0b101, &[]));
        assert_eq!(place(&[40, 41], &[40, 40]), at(1, 0b11, &[]));
        assert_eq!(place(&[127], &[64, 64]), at(1, 1 << 63, &[]));
    }

    #[test]
    fn a_thread_stays_in_one_group_and_the_rest_is_told() {
        assert_eq!(place(&[1, 64, 65], &[64, 64]), at(1, 0b11, &[1]));
        assert_eq!(place(&[1, 64], &[64, 64]), at(0, 0b10, &[64]));
        assert_eq!(place(&[0, 9], &[4]), at(0, 1, &[9]));
    }

    #[test]
    fn cores_that_the_machine_has_not_are_no_place() {
        assert_eq!(place(&[4], &[4]), None);
        assert_eq!(place(&[0], &[]), None);
        assert_eq!(place(&[], &[4]), None);
    }

    #[test]
    fn priorities_keep_the_order_of_nice_values() {
        let all: Vec<_> = (-20..=19).map(priority_of).collect();
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
        assert_eq!((all[0], all[20], all[39]), (2, 0, -2));
        assert!(priority_of(1) < 0 && priority_of(-1) > 0);
    }
}
