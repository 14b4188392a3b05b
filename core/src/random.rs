//! A counter-based random generator. It gives the same numbers on every device, with any number of threads, and after a
//! run is resumed.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC
//! 2011). Each number is a pure function of its coordinates, so there is no generator state to save.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The use of a random number. Streams of different purposes never share a number, whatever the other coordinates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Purpose {
    /// Drawing the tokens of completions.
    Sample = 0,
    /// Shuffling the prompts of an epoch.
    Shuffle = 1,
    /// Initialising weights.
    Init = 2,
    /// Generating a task's problems.
    Task = 3,
    /// Drawing dropout masks.
    Dropout = 4,
    /// Sampling for an evaluation.
    Evaluate = 5,
    /// Drawing from the completions of a replay buffer.
    Replay = 6,
}

/// Random numbers of one seed and one purpose, addressed by three free coordinates, usually (step, sequence, token).
///
/// ```
/// use flowrl_core::random::{Purpose, Stream};
/// let stream = Stream::new(7, Purpose::Sample);
/// assert_eq!(stream.bits(1, 2, 3), stream.bits(1, 2, 3));
/// assert_ne!(stream.bits(1, 2, 3), stream.bits(1, 2, 4));
/// let u = stream.uniform(1, 2, 3);
/// assert!((0.0..1.0).contains(&u));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    key: [u32; 2],
    purpose: u32,
}

impl Stream {
    /// Creates the stream of one purpose under one seed.
    pub const fn new(seed: u64, purpose: Purpose) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], purpose: purpose as u32 }
    }

    /// Returns the generator's key and the fourth word of its counter, with which a device can draw the same numbers.
    pub const fn words(&self) -> ([u32; 2], u32) {
        (self.key, self.purpose)
    }

    /// Returns 128 random bits at (a, b, c).
    pub fn bits(&self, a: u32, b: u32, c: u32) -> [u32; 4] {
        philox([c, b, a, self.purpose], self.key)
    }

    /// Returns a uniform number in [0, 1) with 53 bits at (a, b, c).
    pub fn uniform(&self, a: u32, b: u32, c: u32) -> f64 {
        let [low, high, ..] = self.bits(a, b, c);
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        bits as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Returns a uniform integer in 0..n at (a, b, c), by multiply-shift with a bias below n / 2⁶⁴. If `n` is 0, this
    /// returns 0.
    pub fn below(&self, n: u64, a: u32, b: u32, c: u32) -> u64 {
        let [low, high, ..] = self.bits(a, b, c);
        let bits = u64::from(high) << 32 | u64::from(low);
        ((u128::from(bits) * u128::from(n)) >> 64) as u64
    }

    /// Returns a standard normal number at (a, b, c), by the Box–Muller transform through [`libm`].
    pub fn normal(&self, a: u32, b: u32, c: u32) -> f64 {
        let [r0, r1, r2, r3] = self.bits(a, b, c);
        let unit = |low: u32, high: u32| {
            let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
            (bits as f64 + 0.5) * (1.0 / (1_u64 << 53) as f64)
        };
        let radius = libm::sqrt(-2.0 * libm::log(unit(r0, r1)));
        radius * libm::cos(core::f64::consts::TAU * unit(r2, r3))
    }

    /// Shuffles `items` (Fisher–Yates). The permutation is a function of (a, b).
    pub fn shuffle<V>(&self, items: &mut [V], a: u32, b: u32) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1, a, b, i as u32) as usize);
        }
    }
}

/// Runs the ten rounds of Philox4x32.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the known answers published with the Random123 library.
    #[test]
    fn matches_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_has_the_right_moments() {
        let stream = Stream::new(1, Purpose::Init);
        let n = 40_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let x = stream.normal(0, 0, i);
            sum += x;
            squares += x * x;
        }
        assert!((sum / f64::from(n)).abs() < 0.02);
        assert!((squares / f64::from(n) - 1.0).abs() < 0.03);
    }

    #[test]
    fn shuffle_is_a_permutation() {
        let mut items: [u32; 20] = core::array::from_fn(|i| i as u32);
        Stream::new(3, Purpose::Shuffle).shuffle(&mut items, 0, 0);
        assert_ne!(items, core::array::from_fn(|i| i as u32));
        items.sort_unstable();
        assert_eq!(items, core::array::from_fn(|i| i as u32));
    }
}
