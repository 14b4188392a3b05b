//! Takes the program out of a completion.

/// Returns the program of a completion: the last block of Python between fences after the last `</think>`, or else the
/// last block of any kind. A block that is not closed reaches to the end.
pub(super) fn program(completion: &str) -> Option<String> {
    let answer = completion.rsplit_once("</think>").map_or(completion, |(_, answer)| answer);
    let blocks = blocks(answer);
    let python = |block: &&Block<'_>| ["python", "python3", "py", "py3"].contains(&&*block.language.to_lowercase());
    let block = blocks.iter().rev().find(python).or(blocks.last())?;
    let program = block.lines.join("\n") + "\n";
    (!program.trim().is_empty()).then_some(program)
}

/// A block between fences.
#[derive(Debug)]
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

/// Returns all blocks in order, as Markdown defines them.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    // Length and indentation of the fence that opened the current block.
    let mut open: Option<(usize, usize)> = None;
    for line in text.lines() {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let ticks = content.len() - content.trim_start_matches('`').len();
        let info = content[ticks..].trim();
        match open {
            Some((length, _)) if ticks >= length && info.is_empty() => open = None,
            Some((_, outer)) => {
                let line = &line[indent.min(outer)..];
                blocks.last_mut().into_iter().for_each(|block| block.lines.push(line));
            }
            None if ticks >= 3 && !info.contains('`') => {
                open = Some((ticks, indent));
                let language = info.split([' ', '{', ',']).next().unwrap_or("");
                blocks.push(Block { language, lines: Vec::new() });
            }
            None => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_of_python_counts() {
        for (completion, wanted) in [
            ("```python\na\n```\nthen\n```python\nb\n\n  c\n```\ndone", Some("b\n\n  c\n")),
            ("```python\na\n```\nprints\n```\n1 2\n```", Some("a\n")),
            ("```py\na\n```\n```text\nb\n```", Some("a\n")),
            ("```\na\n```\n```cpp\nb\n```", Some("b\n")),
            ("<think>\n```python\na\n```\n</think>\n```Python\nb\n```", Some("b\n")),
            ("```python\na\n```\n</think> so it is done", None),
            ("```python\nprint('```')\n```", Some("print('```')\n")),
            ("````python\n```\na\n````", Some("```\na\n")),
            ("1. Like this:\n   ```python\n   if x:\n       y\n   ```", Some("if x:\n    y\n")),
            ("```python\nx = 1", Some("x = 1\n")),
            ("```python title=\"a\"\r\nx\r\n```\r\n", Some("x\n")),
            ("use ```x``` here", None),
            ("no code", None),
            ("```python\n\n```", None),
            ("", None),
        ] {
            assert_eq!(program(completion).as_deref(), wanted, "{completion:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[`a \n\\t</think>pyé]{0,60}") {
            program(&text);
        }
    }
}
