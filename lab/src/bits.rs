//! Bit sequences with planted modes (Malkin and others, *Trajectory balance: improved credit assignment in
//! GFlowNets*, 2022).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use flowrl_core::random::{Purpose, Stream};

use super::error::{ensure, planted, power};
use super::{Environment, Error, Outcome};

/// The options of [`Bits`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct BitsOptions {
    /// Number n of bits in a sequence. Default 8, at most 24.
    pub bits: usize,
    /// Number k of bits that one action writes, a divisor of n. Default 1.
    pub word: usize,
    /// Number of planted modes. Default 4.
    pub modes: usize,
    /// The modes depend on this seed.
    pub seed: u64,
}

impl Default for BitsOptions {
    fn default() -> Self {
        Self { bits: 8, word: 1, modes: 4, seed: 0 }
    }
}

/// Sequences of n bits, written from the highest bit down in words of k bits: 2ᵏ actions, n/k steps, and one
/// trajectory per sequence. The number of an object is its sequence read as a binary number.
///
/// r(x) is minus the smallest Hamming distance of x to a mode, so β = 1 gives R = exp(−d) of the GFlowNet papers.
/// The reference is uniform.
///
/// ```
/// use flowrl_lab::{Bits, Environment};
/// let bits = Bits::new(6, 2, &[0b000000, 0b110110])?;
/// assert_eq!((bits.actions(), bits.max_length(), bits.objects()), (4, 3, 64));
/// assert_eq!(bits.reward(0b110111), -1.0);
/// # Ok::<(), flowrl_lab::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bits {
    bits: usize,
    word: usize,
    states: usize,
    modes: Vec<u32>,
}

impl Bits {
    /// Creates the task of sequences of `bits` bits in words of `word` bits, with these modes.
    ///
    /// # Errors
    /// Returns an error if `bits` is 0 or above 24, if `word` does not divide it, if there is no mode or more than
    /// 1024, or if a mode has more bits or occurs twice.
    pub fn new(bits: usize, word: usize, modes: &[u32]) -> Result<Self, Error> {
        let objects = check(bits, word)?;
        planted(modes.len(), objects)?;
        for (i, &mode) in modes.iter().enumerate() {
            ensure((mode as usize) < objects, "modes", f64::from(mode), "a number of `bits` bits")?;
            if let Some(first) = modes[..i].iter().position(|&m| m == mode) {
                return Err(Error::Duplicate { argument: "modes", indices: [first, i] });
            }
        }
        // The states are the prefixes of whole words, without the last level: 1 + 2ᵏ + 2²ᵏ + …
        Ok(Self { bits, word, states: (objects - 1) / ((1 << word) - 1), modes: modes.to_vec() })
    }

    /// Creates the task from options, with distinct modes that the seed draws uniformly.
    ///
    /// # Errors
    /// Returns an error if an option is out of range (see [`Bits::new`]), or if there are more modes than 1024 or
    /// than sequences.
    pub fn from_options(options: BitsOptions) -> Result<Self, Error> {
        let BitsOptions { bits, word, modes, seed } = options;
        let objects = check(bits, word)?;
        planted(modes, objects)?;
        let stream = Stream::new(seed, Purpose::Task);
        let mut drawn = Vec::with_capacity(modes);
        for i in 0..modes as u32 {
            let mut mode = stream.below(objects as u64, 0, 0, i) as u32;
            while drawn.contains(&mode) {
                mode = (mode + 1) % objects as u32;
            }
            drawn.push(mode);
        }
        Self::new(bits, word, &drawn)
    }

    /// Formats a sequence for people, as its bits.
    pub fn name(&self, object: usize) -> String {
        format!("{object:0bits$b}", bits = self.bits)
    }

    /// Returns the planted modes.
    pub fn modes(&self) -> &[u32] {
        &self.modes
    }
}

/// Returns 2ⁿ, the number of sequences, if n and k are valid.
fn check(bits: usize, word: usize) -> Result<usize, Error> {
    ensure(bits >= 1, "bits", bits as f64, "at least 1")?;
    let objects = power("objects", 2, bits, "`bits`")?;
    ensure(word > 0 && bits.is_multiple_of(word), "word", word as f64, "a divisor of `bits`")?;
    Ok(objects)
}

impl Environment for Bits {
    fn states(&self) -> usize {
        self.states
    }

    fn objects(&self) -> usize {
        1 << self.bits
    }

    fn actions(&self) -> usize {
        1 << self.word
    }

    fn max_length(&self) -> usize {
        self.bits / self.word
    }

    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        if action >= self.actions() {
            return None;
        }
        // In a tree of arity b numbered level by level, the children of s are b·s + 1, …, b·s + b. The objects are
        // the last level.
        let child = (state << self.word) + 1 + action;
        Some(child.checked_sub(self.states).map_or(Outcome::State(child), Outcome::Object))
    }

    fn reward(&self, object: usize) -> f64 {
        let distance = |mode: &u32| (*mode as usize ^ object).count_ones();
        -self.modes.iter().map(distance).min().map_or(0.0, f64::from)
    }

    fn is_mode(&self, object: usize) -> bool {
        self.modes.iter().any(|&mode| mode as usize == object)
    }

    fn log_reference(&self, _state: usize, _action: usize) -> f64 {
        -(self.word as f64) * core::f64::consts::LN_2
    }

    /// Each bit has three: not yet written, 0 and 1.
    fn features(&self) -> usize {
        3 * self.bits
    }

    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        let (mut state, mut written) = (state, 0_usize);
        let mut prefix = 0_usize;
        while state > 0 {
            let word = (state - 1) & (self.actions() - 1);
            prefix |= word << written;
            written += self.word;
            state = (state - 1) >> self.word;
        }
        let value = |bit: usize| if bit < written { 1 + (prefix >> (written - 1 - bit) & 1) } else { 0 };
        ones.extend((0..self.bits).map(|bit| (3 * bit + value(bit)) as u32));
    }
}
