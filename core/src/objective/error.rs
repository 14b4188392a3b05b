//! Errors in the input of an objective.

use core::fmt;

/// The reason why an objective refused its input. The message names the argument, what it got, what it expected and how
/// to fix it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of elements.
    Length {
        /// Name of the slice, for example `log_probs`.
        argument: &'static str,
        /// Number of elements it has.
        got: usize,
        /// Number of elements it should have.
        wanted: usize,
        /// Unit of that length, for example `tokens`.
        of: &'static str,
    },
    /// `offsets[index]` is smaller than the offset before it.
    Offsets {
        /// Position in `offsets`.
        index: usize,
        /// The offset at that position.
        got: usize,
        /// The offset before it.
        previous: usize,
    },
    /// An input that this objective needs was not given.
    Missing {
        /// Name of the input, for example `ref_log_probs`.
        argument: &'static str,
        /// The sequence that lacks it, if inputs are given one sequence at a time.
        sequence: Option<usize>,
        /// Reason why it is needed.
        because: &'static str,
    },
    /// An input is NaN or infinite.
    NonFinite {
        /// Name of the input, for example `log_probs`.
        argument: &'static str,
        /// The sequence, counted in the batch that was passed.
        sequence: usize,
        /// The token in this sequence, if the input has one value per token.
        token: Option<usize>,
        /// The value that is not finite.
        got: f64,
    },
    /// An importance weight or ratio is too large for the floating-point type, and no bound limits it.
    WeightOverflow {
        /// Index of the sequence.
        sequence: usize,
        /// Logarithm of the weight, or of the worst token's ratio if ratios are per token.
        log_weight: f64,
    },
    /// A result is too large for the floating-point type, although every input is finite.
    Overflow {
        /// Name of the result, for example `residual`.
        quantity: &'static str,
        /// Index of the sequence.
        sequence: usize,
    },
    /// An option is outside its range.
    Option {
        /// The option as it is spelled in a file, for example `reward_eps`.
        option: &'static str,
        /// Value of the option.
        got: f64,
        /// Range of the option.
        wanted: &'static str,
    },
    /// Two options exclude each other.
    Conflict {
        /// The option to change.
        option: &'static str,
        /// The option that requires the change.
        with: &'static str,
        /// Required value of the first option.
        wanted: &'static str,
    },
    /// The totals of a split batch are smaller than those of one of its parts.
    Totals {
        /// Name of the total: `sequences` or `tokens`.
        of: &'static str,
        /// The total that was given.
        got: usize,
        /// The number that this part alone has.
        part: usize,
    },
    /// A file sets both keys that name a preset, to different presets.
    TwoPresets {
        /// Value of the key `preset`.
        preset: &'static str,
        /// Value of the key `kind`.
        kind: &'static str,
    },
    /// No objective, preset or option value has this name.
    UnknownName {
        /// Kind of name that was looked up, for example `preset`.
        what: &'static str,
        /// The known names.
        wanted: &'static [&'static str],
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { argument, got, wanted, of } => {
                write!(f, "`{argument}` has {got} elements, but the batch has {wanted} {of}: pass one element for each")
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
                write!(f, " holds {got}; check how it was computed")
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
            Self::Option { option, got, wanted } => write!(f, "option `{option}` is {got}, but must be {wanted}"),
            Self::Conflict { option, with, wanted } => {
                write!(f, "`{option}` cannot be combined with this `{with}`: it must be {wanted}")
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
            Self::UnknownName { what, wanted } => {
                write!(f, "unknown {what}: expected one of")?;
                for (i, name) in wanted.iter().enumerate() {
                    write!(f, "{} `{name}`", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for Error {}
