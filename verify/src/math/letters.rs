//! Answers in words.

/// Returns the letters and digits of a text in lower case, without the names of LaTeX commands.
pub(super) fn of(text: &str) -> String {
    let mut letters = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\\' {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if !after.starts_with('{') && !matches!(name, "left" | "right" | "quad" | "displaystyle") {
                letters.push_str(name);
            }
            rest = after;
        } else if c.is_alphanumeric() {
            letters.extend(c.to_lowercase());
        } else if "+-/<>=^".contains(c) {
            letters.push(c);
        }
    }
    let plain = letters.strip_prefix("the").filter(|rest| rest.len() > 3).unwrap_or(&letters);
    match plain {
        "nosolution"
        | "nosolutions"
        | "norealsolution"
        | "norealsolutions"
        | "none"
        | "emptyset"
        | "varnothing"
        | "nosuchnumber"
        | "thereisnosolution"
        | "therearenosolutions" => "emptyset".to_owned(),
        "dne" | "doesnotexist" | "undefined" => "undefined".to_owned(),
        "allrealnumbers" | "allreals" | "realnumbers" => "allreals".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns whether a text is words without numbers, few enough to be an answer.
pub(super) fn are_words(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let words = text.split_whitespace().count();
    letters > 0
        && words <= 20
        && text.len() <= 160
        && !text.contains(|c: char| c.is_ascii_digit() || "=<>^".contains(c))
}

/// Returns whether a text is a single letter, or a word of three or more, perhaps in brackets.
pub(super) fn is_word(text: &str) -> bool {
    let text = ["\\text{", "\\textbf{", "\\mathrm{"].iter().find_map(|start| text.strip_prefix(start)).unwrap_or(text);
    let word = text.trim_matches(|c: char| "(){} ".contains(c));
    !word.is_empty() && word.chars().count() != 2 && word.chars().all(char::is_alphabetic)
}
