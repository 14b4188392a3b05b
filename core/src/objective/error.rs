//! What can be wrong with the input of an objective.

use core::fmt;

/// Why an objective refused its input. The message says which argument, what it got, what it wanted and what to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of elements.
    Length {
        /// The slice, e.g. `log_probs`.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length it should have.
        want: usize,
        /// What that length counts, e.g. `tokens`.
        of: &'static str,
    },
    /// `offsets[index]` is smaller than the offset before it.
    Offsets {
        /// Position in `offsets`.
        index: usize,
        /// The value there.
        got: usize,
        /// The value before it.
        previous: usize,
    },
    /// An input that this objective needs was not given.
    Missing {
        /// The input, e.g. `ref_log_probs`.
        argument: &'static str,
        /// The sequence that lacks it, where inputs are given one sequence at a time.
        sequence: Option<usize>,
        /// Why it is needed.
        because: &'static str,
    },
    /// An input is NaN or infinite.
    NonFinite {
        /// The input, e.g. `log_probs`.
        argument: &'static str,
        /// The sequence, counted in the batch that was passed.
        sequence: usize,
        /// The token inside the sequence, for an input with one value per token.
        token: Option<usize>,
        /// The value.
        got: f64,
    },
    /// An importance weight or ratio is too large for the floating-point type, and no bound stops it.
    WeightOverflow {
        /// The sequence.
        sequence: usize,
        /// Its log weight (of the worst token, for a ratio per token).
        log_weight: f64,
    },
    /// A result is too large for the floating-point type although every input is finite.
    Overflow {
        /// What overflowed, e.g. `residual`.
        quantity: &'static str,
        /// The sequence.
        sequence: usize,
    },
    /// An option is outside its range.
    Option {
        /// The option as it is spelled in a file, e.g. `reward_eps`.
        option: &'static str,
        /// Its value.
        got: f64,
        /// The range.
        want: &'static str,
    },
    /// Two options exclude each other.
    Conflict {
        /// The option to change.
        option: &'static str,
        /// The option that asks for it.
        with: &'static str,
        /// What it must be beside the other.
        want: &'static str,
    },
    /// A batch is split so that its totals are smaller than a part of it.
    Totals {
        /// `sequences` or `tokens`.
        of: &'static str,
        /// The total that was given.
        got: usize,
        /// How many this part alone has.
        part: usize,
    },
    /// Both keys of a file that name a preset are set, to different ones.
    TwoPresets {
        /// That of `preset`.
        preset: &'static str,
        /// That of `kind`.
        kind: &'static str,
    },
    /// No objective, preset or option value has this name.
    UnknownName {
        /// What was looked up, e.g. `preset`.
        what: &'static str,
        /// The names there are.
        want: &'static [&'static str],
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { argument, got, want, of } => {
                write!(f, "`{argument}` has {got} elements, but the batch has {want} {of}: pass one element for each")
            }
            Self::Offsets { index, got, previous } => write!(
                f,
                "`offsets` must ascend: offsets[{index}] is {got}, smaller than {previous} before it; pass the running sum \
                 of the sequences' lengths"
            ),
            Self::Missing { argument, sequence, because } => {
                write!(f, "`{argument}` is missing")?;
                if let Some(sequence) = sequence {
                    write!(f, " for sequence {sequence}")?;
                }
                write!(f, ": {because}")
            }
            Self::NonFinite { argument, sequence, token, got } => {
                write!(f, "`{argument}` must be finite, but sequence {sequence}")?;
                if let Some(token) = token {
                    write!(f, ", token {token}")?;
                }
                write!(f, " holds {got}; look at what produced it")
            }
            Self::WeightOverflow { sequence, log_weight } => write!(
                f,
                "the importance weight of sequence {sequence} overflows: its log is {log_weight}; set `clip_low` and \
                 `clip_high`, or sample from a policy closer to the trained one"
            ),
            Self::Overflow { quantity, sequence } => write!(
                f,
                "the {quantity} of sequence {sequence} overflows although its inputs are finite; check their magnitude"
            ),
            Self::Option { option, got, want } => write!(f, "option `{option}` is {got}, but must be {want}"),
            Self::Conflict { option, with, want } => {
                write!(f, "`{option}` does not go with this `{with}`: it must be {want}")
            }
            Self::Totals { of, got, part } => write!(
                f,
                "`totals.{of}` is {got}, but this part of the batch alone has {part}: pass the totals of the whole batch"
            ),
            Self::TwoPresets { preset, kind } => {
                write!(
                    f,
                    "`preset` is `{preset}` and `kind`, which means the same, is `{kind}`: leave out one of the two"
                )
            }
            Self::UnknownName { what, want } => {
                write!(f, "unknown {what}: expected one of")?;
                for (i, name) in want.iter().enumerate() {
                    write!(f, "{} `{name}`", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for Error {}
