//! Brings the many spellings of a formula in Unicode, Markdown and LaTeX to one.

/// Returns the text with Unicode signs as LaTeX, ASCII digits and spaces, and without Markdown's bold and code marks.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    // Some files escape backslashes twice. In a matrix, two backslashes end a row.
    let doubled = !text.contains("\\begin");
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match c {
            '\\' if doubled && next == '\\' => {
                chars.next();
                let after = chars.peek().copied().unwrap_or(' ');
                out.push_str(if after.is_alphabetic() || "{}()[]%$,!;:".contains(after) { "\\" } else { "\\\\" });
            }
            '*' if next == '*' => {
                chars.next();
                let after = chars.peek().copied().unwrap_or(' ');
                let is_operand = |c: char| c.is_alphanumeric() || "()+-{}".contains(c);
                if is_operand(before) && is_operand(after) {
                    out.push('^');
                }
            }
            '`' => {}
            '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' | '⁻' => {
                out.push_str("^{");
                out.push(superscript(c));
                while let Some(&more) = chars.peek().filter(|c| superscript(**c) != ' ') {
                    out.push(superscript(more));
                    chars.next();
                }
                out.push('}');
            }
            '０'..='９' => out.push(char::from(b'0' + (c as u32 - '０' as u32) as u8)),
            '．' => out.push('.'),
            _ => match spelled(c) {
                Some(latex) => out.push_str(latex),
                None => out.push(c),
            },
        }
        before = c;
    }
    out
}

/// Returns the ASCII form of a superscript, or a space for other characters.
fn superscript(c: char) -> char {
    match c {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴'..='⁹' => char::from(b'4' + (c as u32 - '⁴' as u32) as u8),
        '⁻' => '-',
        _ => ' ',
    }
}

/// Returns the LaTeX of a Unicode sign.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        '−' | '–' | '‐' | '‑' | '﹣' | '－' => "-",
        '＋' => "+",
        '＝' => "=",
        '×' | '✕' | '⨯' => "\\times ",
        '·' | '⋅' | '∙' | '•' => "\\cdot ",
        '÷' => "/",
        '⁄' | '∕' => "/",
        'π' => "\\pi ",
        'θ' => "\\theta ",
        'φ' | 'ϕ' => "\\phi ",
        'α' => "\\alpha ",
        'β' => "\\beta ",
        'λ' => "\\lambda ",
        '∞' => "\\infty ",
        '√' => "\\sqrt ",
        '≤' | '⩽' => "\\le ",
        '≥' | '⩾' => "\\ge ",
        '≠' => "\\ne ",
        '≈' | '≃' | '≅' => "\\approx ",
        '∈' => "\\in ",
        '∪' => "\\cup ",
        '∩' => "\\cap ",
        '±' => "\\pm ",
        '∓' => "\\mp ",
        '∅' => "\\emptyset ",
        '°' | 'º' => "^{\\circ}",
        '⇒' | '→' | '⟹' => "\\Rightarrow ",
        'ℝ' => "\\mathbb{R}",
        'ℤ' => "\\mathbb{Z}",
        'ℕ' => "\\mathbb{N}",
        '½' => "\\frac{1}{2}",
        '⅓' => "\\frac{1}{3}",
        '⅔' => "\\frac{2}{3}",
        '¼' => "\\frac{1}{4}",
        '¾' => "\\frac{3}{4}",
        '€' | '£' | '¥' | '₹' | '¢' => "\\$",
        '“' | '”' | '"' => " ",
        '’' => "'",
        '，' => ",",
        '（' => "(",
        '）' => ")",
        '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        c if c.is_whitespace() && c != '\n' => " ",
        _ => return None,
    })
}

/// Returns the text between the braces that `text` begins with, and the text after them.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('{')?;
    let mut depth = 1_usize;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((&rest[..at], &rest[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_become_latex_and_marks_vanish() {
        assert_eq!(clean("**2×10³** `x`"), "2\\times 10^{3} x");
        assert_eq!(clean("2**3 ** 4"), "2^3  4");
        assert_eq!(clean("−５．5°"), "-5.5^{\\circ}");
        assert_eq!(clean("\\\\frac{1}{2}"), "\\frac{1}{2}");
        assert_eq!(clean("x^{10}⁻¹"), "x^{10}^{-1}");
    }

    #[test]
    fn braces_are_matched() {
        assert_eq!(braced("{a{b}\\}c}d"), Some(("a{b}\\}c", "d")));
        assert_eq!(braced("{a{b}"), None);
        assert_eq!(braced("a"), None);
    }
}
