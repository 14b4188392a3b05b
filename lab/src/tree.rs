//! Autoregressive strings of varying length: a language model small enough to be enumerated.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::exact::log_sum_exp;
use flowrl_core::random::{Purpose, Stream};

use super::error::{ensure, planted};
use super::{Environment, Error, MAX_STATES, Outcome};

/// Largest number of pairs of state and action. A large alphabet has few states but a large table.
const MAX_PAIRS: usize = 1 << 29;

/// The options of [`Strings`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct StringsOptions {
    /// Length L of the longest string, in symbols. Default 5.
    pub length: usize,
    /// Size V of the alphabet. Default 3.
    pub symbols: usize,
    /// Number of planted modes, whose lengths are spread evenly from 1 to L. Default 3.
    pub modes: usize,
    /// The modes and the reference depend on this seed.
    pub seed: u64,
}

impl Default for StringsOptions {
    fn default() -> Self {
        Self { length: 5, symbols: 3, modes: 3, seed: 0 }
    }
}

/// Strings of at most L symbols out of V, each followed by an end token, which is certain after L symbols. Actions
/// 0..V write a symbol and action V ends, so a string of s symbols is a completion of s + 1 tokens. A state is the
/// string written so far, and the object that ends there has the same number. Shorter strings come first, and
/// strings of the same length are in alphabetical order.
///
/// π_ref is a bigram model with logits drawn from a standard normal. r(y) is the largest agreement with a planted
/// mode m: the share of places, out of max(|y|, |m|), in which the two have the same symbol. Only the modes have
/// r = 1.
///
/// Since lengths vary, this task shows the effect of length normalisation: π_ref·exp(βr)/Z favours modes of all
/// lengths equally over the reference, whereas π_ref·exp(|y|(βr − c)) favours them by a factor exp(β − c) per
/// token, the long ones most.
///
/// ```
/// use flowrl_lab::{Strings, StringsOptions, Target};
/// let strings = Strings::new(StringsOptions::default())?;
/// let (plain, normalised) = (Target::plain(&strings, 5.0)?, Target::length_normalised(&strings, 5.0)?);
/// let (sum, mean) = (plain.measure(&plain.log_probs)?, plain.measure(&normalised.log_probs)?);
/// assert!(sum.tv == 0.0 && mean.tv > 0.4, "two different targets");
/// assert!(mean.expected_length > sum.expected_length && mean.mode_mass > sum.mode_mass);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Strings {
    length: usize,
    symbols: usize,
    states: usize,
    /// Number of states that a symbol can follow: all but the last level.
    open: usize,
    modes: Vec<usize>,
    /// (V + 1, V + 1) log-probabilities of each symbol and the end, after the start (row 0) or symbol a (row a + 1).
    bigrams: Vec<f64>,
}

impl Strings {
    /// Creates the strings, the modes and the reference from options.
    ///
    /// # Errors
    /// Returns an error if `length` or `symbols` is 0, if there are more than [`MAX_STATES`] strings or 2²⁹ pairs
    /// of state and action, or if there is no mode, more than 1024, or more than there are non-empty strings.
    pub fn new(options: StringsOptions) -> Result<Self, Error> {
        let StringsOptions { length, symbols, modes: count, seed } = options;
        for (option, got) in [("length", length), ("symbols", symbols)] {
            ensure(got >= 1, option, got as f64, "at least 1")?;
        }
        let states = strings_up_to(length, symbols)?;
        let pairs = states as f64 * (symbols as f64 + 1.0);
        if pairs > MAX_PAIRS as f64 {
            let lower = "`length` or `symbols`";
            return Err(Error::TooMany { of: "pairs of state and action", got: pairs, limit: MAX_PAIRS, lower });
        }
        planted(count, states - 1)?;
        let stream = Stream::new(seed, Purpose::Task);

        let mut modes = Vec::with_capacity(count);
        for i in 0..count {
            let size = if count == 1 { length } else { 1 + i * (length - 1) / (count - 1) };
            let symbol = |place| stream.below(symbols as u64, 0, i as u32, place as u32) as usize;
            let mut mode = (0..size).fold(0, |state, place| state * symbols + 1 + symbol(place));
            while modes.contains(&mode) {
                mode = 1 + mode % (states - 1);
            }
            modes.push(mode);
        }

        let tokens = symbols + 1;
        let mut bigrams: Vec<f64> =
            (0..tokens * tokens).map(|i| stream.normal(1, (i / tokens) as u32, (i % tokens) as u32)).collect();
        for row in bigrams.chunks_exact_mut(tokens) {
            let log_mass = log_sum_exp(row);
            row.iter_mut().for_each(|l| *l -= log_mass);
        }
        // Every state but the first adds one of V symbols to an open state.
        let open = (states - 1) / symbols;
        Ok(Self { length, symbols, states, open, modes, bigrams })
    }

    /// Returns the planted modes.
    pub fn modes(&self) -> &[usize] {
        &self.modes
    }

    /// Formats a string for people: in letters, or as numbers joined by dots if the alphabet is larger than theirs.
    pub fn name(&self, object: usize) -> String {
        match self.symbols {
            _ if object == 0 => "(empty)".to_owned(),
            ..=26 => self.letters(object),
            _ => self.symbols_of(object).iter().map(usize::to_string).collect::<Vec<_>>().join("."),
        }
    }

    /// Returns the string of a state or object, with the letter a for symbol 0, b for symbol 1 and so on.
    pub fn letters(&self, state: usize) -> String {
        self.symbols_of(state).iter().filter_map(|&symbol| char::from_u32(u32::from('a') + symbol as u32)).collect()
    }

    /// Returns the symbols of a state or object, each below V.
    pub fn symbols_of(&self, mut state: usize) -> Vec<usize> {
        // In a tree of arity V numbered level by level, the children of s are V·s + 1, …, V·s + V.
        let mut symbols = vec![];
        while state > 0 {
            symbols.push((state - 1) % self.symbols);
            state = (state - 1) / self.symbols;
        }
        symbols.reverse();
        symbols
    }

    /// Returns whether only the end can follow.
    const fn is_full(&self, state: usize) -> bool {
        state >= self.open
    }
}

/// Returns 1 + V + V² + … + V^L, the number of strings.
fn strings_up_to(length: usize, symbols: usize) -> Result<usize, Error> {
    let (mut total, mut level) = (1_usize, 1_usize);
    for _ in 0..length {
        level = level.saturating_mul(symbols);
        total = total.saturating_add(level);
        if total > MAX_STATES {
            let (v, l) = (symbols as f64, length as f64);
            let got = if symbols == 1 { l + 1.0 } else { (libm::pow(v, l + 1.0) - 1.0) / (v - 1.0) };
            return Err(Error::TooMany { of: "states", got, limit: MAX_STATES, lower: "`length` or `symbols`" });
        }
    }
    Ok(total)
}

impl Environment for Strings {
    fn states(&self) -> usize {
        self.states
    }

    fn objects(&self) -> usize {
        self.states
    }

    fn actions(&self) -> usize {
        self.symbols + 1
    }

    fn max_length(&self) -> usize {
        self.length + 1
    }

    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        if action == self.symbols {
            return Some(Outcome::Object(state));
        }
        let legal = action < self.symbols && !self.is_full(state);
        legal.then(|| Outcome::State(state * self.symbols + 1 + action))
    }

    fn reward(&self, object: usize) -> f64 {
        let string = self.symbols_of(object);
        let agreement = |&mode: &usize| {
            let mode = self.symbols_of(mode);
            let same = string.iter().zip(&mode).filter(|(a, b)| a == b).count();
            same as f64 / string.len().max(mode.len()) as f64
        };
        self.modes.iter().map(agreement).fold(0.0, f64::max)
    }

    fn is_mode(&self, object: usize) -> bool {
        self.modes.contains(&object)
    }

    fn log_reference(&self, state: usize, action: usize) -> f64 {
        if self.is_full(state) {
            return 0.0;
        }
        let last = if state == 0 { 0 } else { (state - 1) % self.symbols + 1 };
        self.bigrams[last * (self.symbols + 1) + action]
    }

    /// Each place has V + 1: not yet written, or its symbol.
    fn features(&self) -> usize {
        self.length * (self.symbols + 1)
    }

    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        let string = self.symbols_of(state);
        let value = |place: usize| string.get(place).map_or(0, |symbol| symbol + 1);
        ones.extend((0..self.length).map(|place| (place * (self.symbols + 1) + value(place)) as u32));
    }
}
