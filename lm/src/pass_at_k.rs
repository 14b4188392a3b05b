//! The unbiased estimator of pass@k.

use crate::error::{Error, Result};

/// Estimates the probability that at least one of `k` completions is correct, from `n` samples of which `correct` are.
///
/// This is 1 − C(n−c, k) / C(n, k) from Chen et al., *Evaluating large language models trained on code* (2021),
/// computed as the product 1 − Π_{i=n−c+1}^{n} (1 − k/i), in which nothing overflows.
///
/// # Errors
/// Returns [`Error::Argument`] unless 1 ≤ k ≤ n and c ≤ n.
///
/// ```
/// use flowrl_lm::pass_at_k::pass_at_k;
/// assert_eq!(pass_at_k(4, 1, 2)?, 0.5);
/// assert_eq!(pass_at_k(10, 3, 8)?, 1.0);
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
pub fn pass_at_k(n: usize, correct: usize, k: usize) -> Result<f64> {
    if !(1..=n).contains(&k) {
        return Err(Error::argument("k", k, format!("from 1 to the number of samples, {n}")));
    }
    if correct > n {
        return Err(Error::argument("correct", correct, format!("at most the number of samples, {n}")));
    }
    if n - correct < k {
        return Ok(1.0);
    }
    Ok(1.0 - (n - correct + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fraction of all subsets of k samples that contain a correct one.
    fn by_counting(n: usize, correct: usize, k: usize) -> f64 {
        let subsets = (0_u32..1 << n).filter(|set| set.count_ones() as usize == k);
        let (all, passed) = subsets
            .fold((0, 0), |(all, passed), set| (all + 1, passed + u32::from(set.trailing_zeros() < correct as u32)));
        f64::from(passed) / f64::from(all)
    }

    #[test]
    fn agrees_with_counting_subsets() {
        for n in 1..=10 {
            for correct in 0..=n {
                for k in 1..=n {
                    let (got, wanted) = (pass_at_k(n, correct, k).unwrap(), by_counting(n, correct, k));
                    assert!((got - wanted).abs() < 1e-12, "{n} {correct} {k}: {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn large_numbers_stay_finite() {
        let got = pass_at_k(100_000, 10, 1000).unwrap();
        assert!((got - 0.09562).abs() < 1e-4, "{got}");
    }

    #[test]
    fn impossible_arguments_are_errors() {
        assert!(pass_at_k(5, 1, 0).is_err());
        assert!(pass_at_k(5, 1, 6).is_err());
        assert!(pass_at_k(5, 6, 1).is_err());
        assert!(pass_at_k(0, 0, 0).is_err());
    }
}
