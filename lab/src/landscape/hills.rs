//! Finds the tops of hills in a square, and the hill that each cell belongs to.

use alloc::vec;
use alloc::vec::Vec;
use core::{array, iter};

/// Returns the neighbours of an answer, at most eight, in ascending order.
#[inline(never)]
fn neighbours(side: usize, i: usize) -> iter::Take<array::IntoIter<usize, 8>> {
    let around = |k: usize| k.saturating_sub(1)..(k + 2).min(side);
    let (mut found, mut count) = ([0; 8], 0);
    for y in around(i / side) {
        for j in around(i % side).map(|x| y * side + x).filter(|&j| j != i) {
            found[count] = j;
            count += 1;
        }
    }
    found.into_iter().take(count)
}

/// Returns the tops of hills that reach at least half-way from the lowest reward to the highest, in ascending order.
pub(super) fn peaks(side: usize, rewards: &[f64]) -> Vec<usize> {
    let (low, high) = rewards.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &r| (l.min(r), h.max(r)));
    let enough = low + 0.5 * (high - low);
    let mut seen = vec![false; rewards.len()];
    let mut tops = vec![false; rewards.len()];
    for start in 0..rewards.len() {
        if seen[start] || rewards[start] < enough {
            continue;
        }
        // `flat` is the region of equal reward around `start`. It is a peak if no neighbour of it is higher.
        let mut flat = vec![start];
        let mut is_peak = true;
        seen[start] = true;
        let mut next = 0;
        while next < flat.len() {
            for j in neighbours(side, flat[next]) {
                is_peak &= rewards[j] <= rewards[start];
                if rewards[j] == rewards[start] && !seen[j] {
                    seen[j] = true;
                    flat.push(j);
                }
            }
            next += 1;
        }
        // A landscape that is flat everywhere has no peak.
        if is_peak && flat.len() < rewards.len() {
            tops[middle_of(side, &flat)] = true;
        }
    }
    (0..rewards.len()).filter(|&i| tops[i]).collect()
}

/// Returns the cell closest to the centroid, or the first if several are equally close.
fn middle_of(side: usize, cells: &[usize]) -> usize {
    let mean =
        |f: fn(usize, usize) -> usize| cells.iter().map(|&i| f(i, side) as f64).sum::<f64>() / cells.len() as f64;
    let (y, x) = (mean(|i, side| i / side), mean(|i, side| i % side));
    let distance = |i: usize| libm::hypot((i / side) as f64 - y, (i % side) as f64 - x);
    cells.iter().copied().fold(cells[0], |best, i| if (distance(i), i) < (distance(best), best) { i } else { best })
}

/// Returns the hill of every answer. The cells of a flat top belong to the peak that stands for it.
pub(super) fn hills(side: usize, rewards: &[f64], peaks: &[usize]) -> Vec<Option<usize>> {
    let mut hills: Vec<Option<usize>> = vec![None; rewards.len()];
    let mut settled = vec![false; rewards.len()];
    let mut path = Vec::new();
    for (place, &peak) in peaks.iter().enumerate() {
        // A flat top belongs to its peak as a whole.
        path.push(peak);
        while let Some(i) = path.pop() {
            if !settled[i] {
                (hills[i], settled[i]) = (Some(place), true);
                path.extend(neighbours(side, i).filter(|&j| rewards[j] == rewards[peak]));
            }
        }
    }
    for start in 0..rewards.len() {
        // Step to the best neighbour until the hill is known or no step leads up.
        let mut i = start;
        while !settled[i] {
            settled[i] = true;
            path.push(i);
            i = neighbours(side, i).fold(i, |best, j| if rewards[j] > rewards[best] { j } else { best });
        }
        path.drain(..).for_each(|on_the_way| hills[on_the_way] = hills[i]);
    }
    for (i, hill) in hills.iter_mut().enumerate() {
        *hill = hill.filter(|&place| rewards[i] >= 0.5 * rewards[peaks[place]]);
    }
    hills
}
