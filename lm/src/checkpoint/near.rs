//! Suggestions for a name that is missing.

/// Returns a clause for an error message with the names most similar to `wanted` or, if none is, the first
/// ones.
pub(super) fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let quoted = |names: &[String]| format!("`{}`", names.join("`, `"));
    match nearest(wanted, names.clone()) {
        near if !near.is_empty() => format!("; similar names are {}", quoted(&near)),
        _ => match names.take(3).map(str::to_owned).collect::<Vec<_>>() {
            first if !first.is_empty() => format!("; the first names it has are {}", quoted(&first)),
            _ => String::new(),
        },
    }
}

/// Returns up to three of `names` that are most similar to `wanted`, nearest first.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = wanted.len() / 3;
    let mut near: Vec<_> = names.map(|name| (distance(wanted, name), name)).filter(|(d, _)| *d <= limit).collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Computes the Levenshtein distance: the fewest bytes to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_known() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["layers.0.q_proj.weight", "layers.0.k_proj.weight", "layers.1.q_proj.weight", "norm"];
        assert_eq!(nearest("layers.0.q_proj.weights", names.into_iter())[0], "layers.0.q_proj.weight");
        assert!(nearest("embedding.table", names.into_iter()).is_empty());
    }
}
