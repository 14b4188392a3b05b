//! Enumeration of all correct answers: all binary trees over all orders of the numbers.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::expression::{Operator, Printed};
use super::rational::Rational;
use crate::error::{Error, Result};

/// Largest number of numbers that are enumerated; five already have over a million expressions.
pub(super) const MAX_NUMBERS: usize = 4;

/// Returns every string that is a correct answer for `numbers` and `target`, sorted, each once.
///
/// Each string corresponds to exactly one binary tree with the numbers as leaves in any order (equal numbers
/// are not distinguished): it is the text with the fewest parentheses that keep the tree. So `a+b+c` and
/// `a+(b+c)` both count. The verifier accepts a completion if and only if it is in this list.
///
/// # Errors
/// Returns [`Error::Argument`] for an empty list of numbers or more than four.
///
/// ```
/// use flowrl_lm::countdown::enumerate;
/// assert_eq!(enumerate(&[2, 3], 5)?, ["2+3", "3+2"]);
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
pub fn enumerate(numbers: &[u32], target: i64) -> Result<Vec<String>> {
    Ok(solutions(numbers, target..=target)?.remove(&target).unwrap_or_default())
}

/// Returns the result of [`enumerate`] for every target in `targets` that can be reached, in one pass.
///
/// # Errors
/// Returns [`Error::Argument`] for an empty list of numbers or more than four.
pub fn solutions(numbers: &[u32], targets: RangeInclusive<i64>) -> Result<BTreeMap<i64, Vec<String>>> {
    check(numbers)?;
    let leaf = |n: u32| (Rational::whole(n.into()), Printed::number(n.into()));
    let mut found = BTreeMap::<i64, Vec<String>>::new();
    let mut keep = |value: Rational, text: &dyn Fn() -> Printed| {
        if let Some(target) = whole_within(value, &targets) {
            found.entry(target).or_default().push(text().text);
        }
    };
    if let [number] = *numbers {
        let (value, printed) = leaf(number);
        keep(value, &|| printed.clone());
    }
    let join = |left: &_, operator, right: &_| Printed::join(left, operator, right);
    let parts = trees_of_parts(numbers, leaf, join, |_| ());
    for_each_split(full(numbers), |left, right| {
        for_each_operation(&parts[left], &parts[right], |value, (left, operator, right)| {
            keep(value, &|| Printed::join(left, operator, right));
        });
    });
    for strings in found.values_mut() {
        strings.sort_unstable();
        strings.dedup();
    }
    Ok(found)
}

/// Returns the targets in `targets` that can be reached, ascending. This is much cheaper than [`solutions`],
/// because it builds no texts.
///
/// # Errors
/// Returns [`Error::Argument`] for an empty list of numbers or more than four.
pub fn reachable(numbers: &[u32], targets: RangeInclusive<i64>) -> Result<Vec<i64>> {
    check(numbers)?;
    let mut found = Vec::new();
    let mut keep = |value| found.extend(whole_within(value, &targets));
    if let [number] = *numbers {
        keep(Rational::whole(number.into()));
    }
    // Only values matter here, so each is kept once.
    let distinct = |trees: &mut Trees<()>| {
        trees.iter_mut().for_each(|(value, ())| *value = value.reduced());
        trees.sort_unstable();
        trees.dedup();
    };
    let parts = trees_of_parts(numbers, |n| (Rational::whole(n.into()), ()), |(), _, ()| (), distinct);
    for_each_split(full(numbers), |left, right| {
        for_each_operation(&parts[left], &parts[right], |value, _| keep(value));
    });
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn check(numbers: &[u32]) -> Result<()> {
    if (1..=MAX_NUMBERS).contains(&numbers.len()) {
        return Ok(());
    }
    Err(Error::argument("numbers", format!("{} numbers", numbers.len()), format!("1 to {MAX_NUMBERS} numbers")))
}

fn whole_within(value: Rational, targets: &RangeInclusive<i64>) -> Option<i64> {
    let whole = i64::try_from(value.to_whole()?).ok()?;
    targets.contains(&whole).then_some(whole)
}

/// Returns the bit mask of all numbers.
fn full(numbers: &[u32]) -> usize {
    (1 << numbers.len()) - 1
}

/// Trees over a subset of the numbers: the value of each, and data that the caller keeps with it.
type Trees<V> = Vec<(Rational, V)>;

/// Builds every tree over each proper subset of the numbers, indexed by bit mask. `tidy` is called on the trees
/// of each subset.
fn trees_of_parts<V>(
    numbers: &[u32],
    leaf: impl Fn(u32) -> (Rational, V),
    join: impl Fn(&V, Operator, &V) -> V,
    tidy: impl Fn(&mut Trees<V>),
) -> Vec<Trees<V>> {
    let mut parts: Vec<Trees<V>> = vec![Vec::new()];
    for part in 1..full(numbers) {
        let mut trees = Vec::new();
        if part.is_power_of_two() {
            trees.push(leaf(numbers[part.trailing_zeros() as usize]));
        }
        for_each_split(part, |left, right| {
            for_each_operation(&parts[left], &parts[right], |value, (left, operator, right)| {
                trees.push((value, join(left, operator, right)));
            });
        });
        tidy(&mut trees);
        parts.push(trees);
    }
    parts
}

/// Calls `visit` with every ordered partition of `part` into two subsets that are not empty.
fn for_each_split(part: usize, mut visit: impl FnMut(usize, usize)) {
    for left in (1..part).filter(|left| left & part == *left) {
        visit(left, part ^ left);
    }
}

/// Calls `visit` with every operation between a tree of `left` and one of `right` that has a value.
fn for_each_operation<'a, V>(
    left: &'a Trees<V>,
    right: &'a Trees<V>,
    mut visit: impl FnMut(Rational, (&'a V, Operator, &'a V)),
) {
    for (a, left) in left {
        for (b, right) in right {
            for operator in Operator::ALL {
                if let Ok(value) = operator.apply(*a, *b) {
                    visit(value, (left, operator, right));
                }
            }
        }
    }
}
