//! Suggestions for mistyped names.

/// Returns ` (did you mean `x`?)` for the known name most similar to `word`, or an empty string if none is similar
/// enough.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// The similarity that clap requires of a flag.
    const ALIKE: f64 = 0.7;
    let scored = known.into_iter().map(|name| (strsim::jaro(word, name), name));
    let best = scored.filter(|(score, _)| *score > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn only_what_is_alike_is_suggested() {
        let names = ["beta", "samples", "steps", "grpo"];
        assert_eq!(did_you_mean("beat", names), " (did you mean `beta`?)");
        assert_eq!(did_you_mean("grop", names), " (did you mean `grpo`?)");
        assert_eq!(did_you_mean("step", names), " (did you mean `steps`?)");
        assert_eq!(did_you_mean("quantization", names), "");
    }
}
