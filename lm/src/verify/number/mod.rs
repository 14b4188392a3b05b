//! A verifier that extracts the number which a completion states as its answer.

mod quantity;
mod token;

use flowrl_core::task::{JudgeError, Judgement};
use quantity::{Quantity, fraction_or_number, is_currency, quantities};
use token::{Token, Tokens, braced, plain};

use super::{Attempt, Verifier, answer_text, judgement, refused};
use crate::countdown::Rational;
use crate::error::Result;
use crate::prompts::PromptRow;

/// Compares the number that the completion states with the one in `answer`, exactly.
///
/// `docs/verifiers.md` has the rule and examples. A number in a doubtful place is ignored, so right answers in
/// an unusual form are `wrong`. Verdicts: `correct`, `wrong`, `no-number`, `unfinished`, `no-answer`. The canonical form of
/// an answer is its number in lowest terms.
///
/// ```
/// use flowrl_lm::prompts::PromptRow;
/// use flowrl_lm::verify::{Attempt, Number, Verifier};
/// let row = PromptRow { answer: "3/4".into(), ..PromptRow::text("1/2 + 1/4?") };
/// let verdict = |completion| Number.judge(Attempt { row: &row, completion, ended: true, tokens: 9 }).map(|judgement| judgement.verdict);
/// assert_eq!(verdict("It is \\boxed{\\frac{6}{8}}, step 2 shows.")?, "correct");
/// assert_eq!(verdict("It is 3/4 of 2.")?, "wrong");
/// # Ok::<(), flowrl_core::task::JudgeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Number;

impl Verifier for Number {
    fn name(&self) -> &str {
        "number"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        match answer_text(&row.answer) {
            Ok(text) if answer(&text).is_some() => Ok(()),
            Err(wanted) if row.answer.is_number() => Err(refused(row, wanted)),
            _ => Err(refused(row, FORMS)),
        }
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let answer = answer_text(&attempt.row.answer).ok().and_then(|text| answer(&text));
        let stated = attempt.ended.then(|| stated(attempt.completion));
        let verdict = match (answer, stated) {
            (None, _) => "no-answer",
            (Some(_), None) => "unfinished",
            (Some(_), Some(Stated::Nothing)) => "no-number",
            (Some(answer), Some(Stated::Number(number))) if number == answer => "correct",
            _ => "wrong",
        };
        let number = match stated {
            Some(Stated::Number(number)) => Some(number.to_string().into()),
            _ => None,
        };
        Ok(judgement(verdict, number))
    }
}

/// The forms of an answer that are accepted, for error messages.
const FORMS: &str = "a number: an integer or a decimal (`-1,234.5`), a percentage (`50%`), an amount (`$18.00`), a fraction \
                     (`3/4` or `\\frac{3}{4}`), or a text that ends in `#### N`, where N is one of these";

/// Returns the number that is the whole answer, or the whole text after its last `####`.
fn answer(text: &str) -> Option<Rational> {
    let text = plain(text.rsplit_once("####").map_or(text, |(_, number)| number));
    let tokens = Tokens::of(&text).tokens;
    let (negative, currency, number) = match &tokens[..] {
        [Token::Mark(sign @ ('-' | '+')), currency, rest @ ..] if is_currency(*currency) => (*sign == '-', true, rest),
        [currency, Token::Mark(sign @ ('-' | '+')), rest @ ..] if is_currency(*currency) => (*sign == '-', true, rest),
        [Token::Mark(sign @ ('-' | '+')), rest @ ..] => (*sign == '-', false, rest),
        [currency, rest @ ..] if is_currency(*currency) => (false, true, rest),
        rest => (false, false, rest),
    };
    let (value, length) = fraction_or_number(number)?;
    let complete = match number[length..] {
        [] => true,
        [Token::Mark('%')] => !currency,
        [after] => is_currency(after) && !currency,
        _ => false,
    };
    let value = value.filter(|_| complete)?;
    if negative { Rational::whole(0).sub(value) } else { Some(value) }.map(Rational::reduced)
}

/// The answer that a completion states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stated {
    /// The text has no number.
    Nothing,
    /// A number cannot be read, or there are several where one belongs.
    Unclear,
    /// A number in lowest terms.
    Number(Rational),
}

impl From<&Quantity> for Stated {
    fn from(quantity: &Quantity) -> Self {
        quantity.value.map_or(Self::Unclear, Self::Number)
    }
}

/// Returns the number of the last `\boxed{}` and the last `#### N`, which must agree; without either, the last number.
fn stated(completion: &str) -> Stated {
    let text = plain(after_reasoning(completion));
    match (boxed(&text), marked(&text)) {
        (Some(boxed), Some(marked)) if boxed != marked => Stated::Unclear,
        (Some(stated), _) | (_, Some(stated)) => stated,
        (None, None) => quantities(&Tokens::of(&text)).last().map_or(Stated::Nothing, Stated::from),
    }
}

/// Returns the text outside `<think>…</think>`, whose beginning may be part of the prompt.
fn after_reasoning(text: &str) -> &str {
    let text = text.rsplit_once("</think>").map_or(text, |(_, answer)| answer);
    text.split_once("<think>").map_or(text, |(answer, _)| answer)
}

/// Returns the number in the last `\boxed{}`, which must be the only one there; `x = ` may precede it.
fn boxed(text: &str) -> Option<Stated> {
    let (_, rest) =
        ["\\boxed", "\\fbox"].iter().filter_map(|box_| text.rsplit_once(box_)).min_by_key(|(_, rest)| rest.len())?;
    let Some((content, _)) = braced(rest.trim_start()) else { return Some(Stated::Unclear) };
    let tokens = Tokens::of(content);
    let equation = tokens.tokens.iter().position(|token| *token == Token::Mark('='));
    let of_a_variable = equation.is_none_or(|at| at == 1 && matches!(tokens.tokens[0], Token::Word(_)));
    Some(match &quantities(&tokens)[..] {
        [] => Stated::Nothing,
        [number] if of_a_variable => number.into(),
        _ => Stated::Unclear,
    })
}

/// Returns the number of the last line that has the form `#### N`.
fn marked(text: &str) -> Option<Stated> {
    text.rmatch_indices("####").find_map(|(at, mark)| {
        let line = text[at + mark.len()..].lines().next()?;
        if text[..at].ends_with('#') { None } else { marked_line(line) }
    })
}

/// Returns the number after `####`, up to a remark in parentheses. A heading such as `2. Compute` has none.
fn marked_line(line: &str) -> Option<Stated> {
    let line = line.split(" (").next()?;
    let tokens = Tokens::of(line);
    let numbers = quantities(&tokens);
    let first = numbers.first()?;
    let (before, after) = (&tokens.tokens[..first.start], &tokens.tokens[first.end..]);
    let heading = first.value.is_some() && after.iter().any(|token| matches!(token, Token::Word(_)));
    if heading || before.iter().any(|token| *token != Token::Mark('*')) {
        return None;
    }
    Some(if numbers.len() == 1 { first.into() } else { Stated::Unclear })
}
