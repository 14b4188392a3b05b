//! Conversion of a template's text to the dialect of the engine.

/// Normalises line ends to `\n`, as Jinja does, and converts `{% generation %}` blocks to blocks that only
/// print their content.
///
/// With these blocks `transformers` marks the tokens of the assistant. They have a scope of their own and obey
/// white-space control like any other block, so each becomes a `with` block without assignments. Lines keep
/// their numbers.
pub(super) fn prepare(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find('{') {
        out += &rest[..at];
        rest = &rest[at..];
        let length = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map_or(rest.len(), |end| end + 2),
            Some(b'{') => tag_length(rest, "}}"),
            Some(b'%') => tag_length(rest, "%}"),
            _ => 1,
        };
        let (tag, after) = rest.split_at(length);
        rest = after;
        match tag.strip_prefix("{%").and_then(statement) {
            Some("generation") => out += &tag.replace("generation", "with"),
            Some("endgeneration") => out += &tag.replace("endgeneration", "endwith"),
            Some("raw") => {
                let length = end_of_raw(rest);
                out += tag;
                out += &rest[..length];
                rest = &rest[length..];
            }
            _ => out += tag,
        }
    }
    out + rest
}

/// Returns the number of bytes of a tag, from its first to its last brace. Text in quotes does not end it.
fn tag_length(text: &str, end: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(end) => return at + end.len(),
            None => {}
        }
    }
    text.len()
}

/// Returns the statement of a tag `{% … %}` of one word, without its white-space control.
fn statement(tag: &str) -> Option<&str> {
    let inner = tag.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
}

/// Returns the number of bytes up to the end of the tag that closes a raw block.
fn end_of_raw(text: &str) -> usize {
    let tags = text.match_indices("{%").map(|(at, _)| at);
    let ends = tags.filter_map(|at| Some((at, at + text[at..].find("%}")? + 2)));
    ends.into_iter()
        .find(|&(at, end)| statement(&text[at + 2..end]) == Some("endraw"))
        .map_or(text.len(), |(_, end)| end)
}

#[cfg(test)]
mod tests {
    use super::prepare;

    #[test]
    fn generation_blocks_become_blocks_without_effect() {
        for (source, wanted) in [
            ("a{% generation %}b{% endgeneration %}c", "a{% with %}b{% endwith %}c"),
            ("{%- generation -%}x{%+endgeneration+%}", "{%- with -%}x{%+endwith+%}"),
            ("{%generation%}{{ '{% generation %}' }}{%endgeneration%}", "{%with%}{{ '{% generation %}' }}{%endwith%}"),
        ] {
            assert_eq!(prepare(source), wanted);
        }
    }

    #[test]
    fn all_else_stays() {
        for source in [
            "{# {% generation %} #}",
            "{% raw %}{% generation %}{%- endraw -%}{{ generation }}",
            "{% set generation = \"a\\\"%}{% generation %}\" %}",
            "{% if generation %}{ x }{% endif %}",
            "{{ {'a': {'b': 1}} }}{%",
            "{{ \"never closed",
        ] {
            assert_eq!(prepare(source), source);
        }
        assert_eq!(prepare("a\r\nb\rc\n"), "a\nb\nc\n");
    }
}
