//! Prompts and completions as rows of tokens, packed without padding, each prompt once.

use crate::backend::{Layout, Span};

/// Rows of tokens ready for the model, and the rows that predict the tokens of the completions.
///
/// Rows are ordered by prompt: first the rows of the prompt, then those of each of its completions without the last
/// token, which predicts nothing. Predictions are in the order in which the completions were given, tokens packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Token of each row.
    pub ids: Vec<u32>,
    /// Position of each row's token in its sequence.
    pub positions: Vec<u32>,
    /// Which rows attend to which.
    pub layout: Layout,
    /// First row and number of rows of each prompt.
    pub prompts: Vec<(usize, usize)>,
    /// Row whose logits predict each of the N completion tokens.
    pub rows: Vec<u32>,
    /// The N completion tokens.
    pub targets: Vec<u32>,
}

impl Packed {
    /// Packs `completions`, the i-th of which answers prompt `prompt_of[i]`. Every prompt must have at least one token.
    pub fn new(prompts: &[&[u32]], completions: &[&[u32]], prompt_of: &[usize]) -> Self {
        let mut packed = Self::default();
        let mut members = vec![Vec::new(); prompts.len()];
        for (i, &p) in prompt_of.iter().enumerate() {
            members[p].push(i);
        }
        let mut starts = vec![0; completions.len()];
        for (prompt, members) in prompts.iter().zip(&members) {
            packed.layout.groups.push(packed.layout.spans.len());
            let start = packed.ids.len();
            packed.prompts.push((start, prompt.len()));
            packed.push(prompt, 0, Span::default());
            for &i in members {
                starts[i] = packed.ids.len();
                let fed = &completions[i][..completions[i].len().saturating_sub(1)];
                let prefix = Span { prefix_start: start, prefix_len: prompt.len(), ..Span::default() };
                packed.push(fed, prompt.len(), prefix);
            }
        }
        packed.layout.groups.push(packed.layout.spans.len());
        for ((completion, &p), &start) in completions.iter().zip(prompt_of).zip(&starts) {
            let (prompt_start, prompt_len) = packed.prompts[p];
            for t in 0..completion.len() {
                packed.rows.push(if t == 0 { prompt_start + prompt_len - 1 } else { start + t - 1 } as u32);
            }
            packed.targets.extend_from_slice(completion);
        }
        packed
    }

    fn push(&mut self, tokens: &[u32], position: usize, prefix: Span) {
        if tokens.is_empty() {
            return;
        }
        self.layout.spans.push(Span { start: self.ids.len(), len: tokens.len(), ..prefix });
        self.ids.extend_from_slice(tokens);
        self.positions.extend((position..position + tokens.len()).map(|p| p as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_share_their_prompt() {
        let packed = Packed::new(&[&[1, 2], &[3]], &[&[4, 5, 6], &[7], &[8, 9]], &[0, 1, 0]);
        assert_eq!(packed.ids, [1, 2, 4, 5, 8, 3]);
        assert_eq!(packed.positions, [0, 1, 2, 3, 2, 0]);
        assert_eq!(packed.prompts, [(0, 2), (5, 1)]);
        assert_eq!(packed.layout.groups, [0, 3, 4]);
        assert_eq!(packed.layout.spans[2], Span { start: 4, len: 1, prefix_start: 0, prefix_len: 2 });
        assert_eq!(packed.targets, [4, 5, 6, 7, 8, 9]);
        assert_eq!(packed.rows, [1, 2, 3, 5, 1, 4]);
    }
}
