//! The nearest right spelling of a wrong name.

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(wrong: &str, right: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let length = wrong.chars().count();
    let close = right.iter().filter_map(|&name| {
        // A transposition is one slip of the fingers; a third of the letters is another word.
        let slips = strsim::damerau_levenshtein(&wrong, &plain(name));
        (slips <= (length / 3).max(1)).then_some((slips, name))
    });
    let sorted = |name: &str| {
        let mut words: Vec<_> = name.split('_').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let contains = |name: &&&str| {
        sorted(&wrong) == sorted(&plain(name))
            || length >= 4
                && (plain(name).contains(&wrong) || name.len() >= 4 && wrong.contains(**name))
    };
    close
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, name)| name)
        .or_else(|| right.iter().find(contains).copied())
}

/// The end of a message about an unknown name: what was probably meant, or what there is.
pub(crate) fn did_you_mean(wrong: &str, right: &[&str]) -> String {
    if let Some(name) = nearest(wrong, right) {
        return format!("; did you mean \"{name}\"?");
    }
    match right {
        [] => "; there is none".to_owned(),
        names => format!("; there is {}", listed(names)),
    }
}

/// `"a", "b" and "c"`.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_another_word_is_not() {
        let lanes = ["players", "backend"];
        for wrong in ["plyers", "palyers", "Players", "player"] {
            assert_eq!(nearest(wrong, &lanes), Some("players"), "{wrong}");
        }
        assert_eq!(nearest("vip", &lanes), None);
        let keys = ["idle_timeout_ms", "connect_timeout_ms"];
        assert_eq!(nearest("idle-timeout", &keys), Some("idle_timeout_ms"));
        assert_eq!(nearest("", &keys), None);
        assert_eq!(
            nearest("max_workers", &["workers_max"]),
            Some("workers_max")
        );
    }

    #[test]
    fn what_there_is_is_listed() {
        assert_eq!(did_you_mean("x", &[]), "; there is none");
        assert_eq!(
            did_you_mean("vip", &["players", "backend"]),
            "; there is \"players\" and \"backend\""
        );
    }
}
