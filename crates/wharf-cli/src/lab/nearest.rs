//! The nearest right spelling of a wrong name.

/// `, did you mean "x"?` if a choice is near enough to be meant, else nothing.
pub(crate) fn nearest(wrong: &str, choices: &[&str]) -> String {
    let scored = choices
        .iter()
        .map(|choice| (strsim::jaro_winkler(wrong, choice), choice));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        // Below it, two random words of a topic are as near (what clap uses for its hints).
        Some((score, choice)) if score > 0.7 => format!(", did you mean \"{choice}\"?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_not() {
        let choices = ["port_per_network", "shared", "lanes"];
        assert_eq!(nearest("lane", &choices), ", did you mean \"lanes\"?");
        assert_eq!(nearest("sharde", &choices), ", did you mean \"shared\"?");
        assert_eq!(nearest("qqq", &choices), "");
        assert_eq!(nearest("x", &[]), "");
    }
}
