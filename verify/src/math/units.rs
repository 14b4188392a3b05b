//! Units at the end of an answer.

/// Names of the same unit.
const UNITS: &[&[&str]] = &[
    &["mm", "millimeter", "millimetre"],
    &["cm", "centimeter", "centimetre"],
    &["dm", "decimeter", "decimetre"],
    &["m", "meter", "metre"],
    &["km", "kilometer", "kilometre"],
    &["inch", "inche", "in"],
    &["ft", "foot", "feet"],
    &["yard", "yd"],
    &["mile", "mi"],
    &["mg", "milligram"],
    &["g", "gram"],
    &["kg", "kilogram"],
    &["lb", "pound"],
    &["oz", "ounce"],
    &["ml", "milliliter", "millilitre"],
    &["l", "liter", "litre"],
    &["sec", "second"],
    &["min", "minute"],
    &["hr", "hour", "h"],
    &["day"],
    &["week"],
    &["month"],
    &["year", "yr"],
    &["dollar", "usd"],
    &["cent"],
    &["euro"],
    &["mph"],
    &["deg", "degree"],
    &["radian", "rad"],
];

/// Returns whether both units are known and differ. A unit may be left out, and unknown ones are ignored.
pub(super) fn conflict(a: Option<&str>, b: Option<&str>) -> bool {
    matches!((a.and_then(known), b.and_then(known)), (Some(a), Some(b)) if a != b)
}

/// Returns the first name and the power of a known unit: `cm^2`, `square centimeters`, `centimeters squared`.
fn known(text: &str) -> Option<(&'static str, u8)> {
    let text = text.to_lowercase();
    let (mut power, mut name) = (1, String::new());
    for word in text.split([' ', '^', '{', '}', '.']).filter(|word| !word.is_empty()) {
        match word {
            "square" | "squared" | "sq" | "2" => power = 2,
            "cubic" | "cubed" | "cu" | "3" => power = 3,
            _ if name.is_empty() => word.clone_into(&mut name),
            _ => return None,
        }
    }
    let singular = name.strip_suffix('s').filter(|rest| !rest.is_empty()).unwrap_or(&name);
    let names = UNITS.iter().find(|names| names.contains(&&*name) || names.contains(&singular))?;
    Some((names[0], power))
}

#[cfg(test)]
mod tests {
    use super::conflict;

    #[test]
    fn only_known_units_conflict() {
        assert!(conflict(Some("cm"), Some("meters")));
        assert!(conflict(Some("cm^2"), Some("cm")));
        assert!(!conflict(Some("cm^2"), Some("square centimeters")));
        assert!(!conflict(Some("apples"), Some("pieces of fruit")));
        assert!(!conflict(None, Some("cm")));
        assert!(conflict(Some("dollars"), Some("cents")));
    }
}
