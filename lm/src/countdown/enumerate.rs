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
    let leaf = |n: u32| (Rational::whole(n.into()), Printed::number(n.into()));
    let join = |left: &_, operator, right: &_| Printed::join(left, operator, right);
    let mut found = BTreeMap::<i64, Vec<String>>::new();
    let visit = |value, printed: &dyn Fn() -> Printed| {
        if let Some(target) = whole_within(value, &targets) {
            found.entry(target).or_default().push(printed().text);
        }
    };
    for_each_tree(numbers, leaf, join, |_| (), visit)?;
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
pub(crate) fn reachable(numbers: &[u32], targets: RangeInclusive<i64>) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    // Only values matter here, so each is kept once.
    let distinct = |trees: &mut Trees<()>| {
        trees.iter_mut().for_each(|(value, ())| *value = value.reduced());
        trees.sort_unstable();
        trees.dedup();
    };
    let leaf = |n: u32| (Rational::whole(n.into()), ());
    let visit = |value, _: &dyn Fn()| found.extend(whole_within(value, &targets));
    for_each_tree(numbers, leaf, |(), _, ()| (), distinct, visit)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn whole_within(value: Rational, targets: &RangeInclusive<i64>) -> Option<i64> {
    let whole = i64::try_from(value.to_whole()?).ok()?;
    targets.contains(&whole).then_some(whole)
}

/// Trees over a subset of the numbers: the value of each, and data that the caller keeps with it.
type Trees<V> = Vec<(Rational, V)>;

/// Calls `visit` with the value of every tree over all numbers, and a function that makes its data. `tidy` is called on
/// the trees of each proper subset, which are built first.
fn for_each_tree<V>(
    numbers: &[u32],
    leaf: impl Fn(u32) -> (Rational, V),
    join: impl Fn(&V, Operator, &V) -> V,
    tidy: impl Fn(&mut Trees<V>),
    mut visit: impl FnMut(Rational, &dyn Fn() -> V),
) -> Result<()> {
    if !(1..=MAX_NUMBERS).contains(&numbers.len()) {
        let wanted = format!("1 to {MAX_NUMBERS} numbers");
        return Err(Error::argument("numbers", format!("{} numbers", numbers.len()), wanted));
    }
    // The trees of each subset, indexed by bit mask.
    let full: usize = (1 << numbers.len()) - 1;
    let mut parts: Vec<Trees<V>> = vec![Vec::new()];
    for part in 1..full {
        let mut trees = Vec::new();
        if part.is_power_of_two() {
            trees.push(leaf(numbers[part.trailing_zeros() as usize]));
        }
        for_each_operation(part, &parts, |value, (left, operator, right)| {
            trees.push((value, join(left, operator, right)));
        });
        tidy(&mut trees);
        parts.push(trees);
    }
    if let [number] = *numbers {
        visit(leaf(number).0, &|| leaf(number).1);
    }
    for_each_operation(full, &parts, |value, (left, operator, right)| visit(value, &|| join(left, operator, right)));
    Ok(())
}

/// Calls `visit` with every operation that has a value, between trees of two subsets that make up `part` together.
fn for_each_operation<'a, V>(
    part: usize,
    trees: &'a [Trees<V>],
    mut visit: impl FnMut(Rational, (&'a V, Operator, &'a V)),
) {
    for subset in (1..part).filter(|subset| subset & part == *subset) {
        for (a, left) in &trees[subset] {
            for (b, right) in &trees[part ^ subset] {
                for operator in Operator::ALL {
                    if let Ok(value) = operator.apply(*a, *b) {
                        visit(value, (left, operator, right));
                    }
                }
            }
        }
    }
}
