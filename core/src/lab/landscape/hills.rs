//! Which cells of a square are tops of hills, and which hill a cell belongs to.

use alloc::vec;
use alloc::vec::Vec;

fn neighbours(side: usize, i: usize) -> impl Iterator<Item = usize> {
    let around = move |k: usize| k.saturating_sub(1)..(k + 2).min(side);
    let (row, column) = (i / side, i % side);
    around(row).flat_map(move |y| around(column).map(move |x| y * side + x)).filter(move |&j| j != i)
}

/// The tops of hills that reach at least half-way from the lowest reward to the highest, in ascending order.
pub(super) fn peaks(side: usize, rewards: &[f64]) -> Vec<usize> {
    let (low, high) = rewards.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &r| (l.min(r), h.max(r)));
    let enough = low + 0.5 * (high - low);
    let mut seen = vec![false; rewards.len()];
    let mut peaks = Vec::new();
    for start in 0..rewards.len() {
        if seen[start] || rewards[start] < enough {
            continue;
        }
        // The flat piece that `start` lies in; a peak if nothing beside it is higher.
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
            peaks.push(middle_of(side, &flat));
        }
    }
    peaks.sort_unstable();
    peaks
}

/// The member closest to the centroid, the first of several.
fn middle_of(side: usize, cells: &[usize]) -> usize {
    let mean =
        |f: fn(usize, usize) -> usize| cells.iter().map(|&i| f(i, side) as f64).sum::<f64>() / cells.len() as f64;
    let (y, x) = (mean(|i, side| i / side), mean(|i, side| i % side));
    let distance = |i: usize| libm::hypot((i / side) as f64 - y, (i % side) as f64 - x);
    cells.iter().copied().fold(cells[0], |best, i| if (distance(i), i) < (distance(best), best) { i } else { best })
}

/// The hill of every answer. Flat tops lead to the peak that stands for them.
pub(super) fn hills(side: usize, rewards: &[f64], peaks: &[usize]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..rewards.len()).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]).then(a.cmp(&b)));
    let mut hills: Vec<Option<usize>> = vec![None; rewards.len()];
    for (place, &peak) in peaks.iter().enumerate() {
        // The flat piece around a peak, which may be the peak alone.
        let mut flat = vec![peak];
        while let Some(i) = flat.pop() {
            if hills[i].is_none() {
                hills[i] = Some(place);
                flat.extend(neighbours(side, i).filter(|&j| rewards[j] == rewards[peak]));
            }
        }
    }
    // From high to low: the best neighbour has been settled before.
    for i in order {
        if hills[i].is_none() {
            let best = neighbours(side, i).fold(i, |best, j| if rewards[j] > rewards[best] { j } else { best });
            hills[i] = if best == i { None } else { hills[best] };
        }
    }
    for (i, hill) in hills.iter_mut().enumerate() {
        *hill = hill.filter(|&place| rewards[i] >= 0.5 * rewards[peaks[place]]);
    }
    hills
}
