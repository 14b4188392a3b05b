//! The learned distribution next to the target, as the report draws it, in `distribution.json` of a run.

use anyhow::{Context, Result};
use flowrl_lab::{BanditPreset, Environment, Lab, LabKind};
use flowrl_lm::fs::atomic_write;
use serde::{Deserialize, Serialize};

use super::truth::Truth;
use crate::config::{TaskKind, TaskSection};
use crate::run_dir::RunDir;

/// The maximum number of cells along a side of a heat map. More could not be told apart.
const MOST_CELLS: usize = 40;
/// The maximum number of bars.
const MOST_BARS: usize = 256;
/// The maximum number of ranks.
const MOST_RANKS: usize = 400;

/// The probabilities to draw, by kind of picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "picture", rename_all = "kebab-case")]
pub(crate) enum Picture {
    /// A heat map, with cells row by row.
    Heat { what: String, columns: usize, rows: usize, target: Vec<f64>, learned: Vec<f64> },
    /// A bar chart, with one bar per object.
    Bars { what: String, names: Vec<String>, reference: Vec<f64>, target: Vec<f64>, learned: Vec<f64> },
    /// A curve over objects from the most to the least probable under the target.
    Ranked {
        what: String,
        names: Vec<String>,
        /// Ranks of the objects, counted from 1.
        ranks: Vec<usize>,
        target: Vec<f64>,
        learned: Vec<f64>,
        /// Fixed point of a length-normalised objective.
        fixed_point: Option<Vec<f64>>,
    },
}

impl Picture {
    /// Chooses and fills the picture that suits the task.
    pub(crate) fn of(task: &TaskSection, truth: &Truth, learned: &[f64]) -> Self {
        let probability = |log_probs: &[f64]| -> Vec<f64> { log_probs.iter().map(|l| l.exp()).collect() };
        let (target, learned) = (probability(&truth.target.log_probs), probability(learned));
        let ring = task.kind == TaskKind::Lab(LabKind::Bandit)
            && task.preset == BanditPreset::Ring.name()
            && task.rewards.is_none();
        match &truth.lab {
            Lab::Hypergrid(grid) if grid.dim() > 1 => {
                let side = grid.side();
                let cell = |object| {
                    let mut places = grid.coordinates(object);
                    [places.next().unwrap_or(0), places.next().unwrap_or(0)]
                };
                let what = match grid.dim() {
                    2 => {
                        "Probability of each point of the grid; the first dimension runs down, the second to the right."
                            .into()
                    }
                    dim => format!(
                        "Marginal of the first two of {dim} dimensions; the first runs down, the second to the right."
                    ),
                };
                heat(what, side, side, &target, &learned, cell)
            }
            Lab::Landscape(square) => {
                let side = square.side();
                let what = "Probability of each answer: its first token is the row, its second the column.".into();
                heat(what, side, side, &target, &learned, |i| [i / side, i % side])
            }
            Lab::Bandit(bandit) if ring => {
                let side = (bandit.objects() as f64).sqrt().ceil() as usize;
                let what = "Probability of each answer; answers fill the square row by row.".into();
                heat(what, bandit.objects().div_ceil(side), side, &target, &learned, |i| [i / side, i % side])
            }
            lab if matches!(lab, Lab::Bandit(_) | Lab::Hypergrid(_)) && lab.objects() <= MOST_BARS => Self::Bars {
                what: "Probability of each answer.".into(),
                names: (0..lab.objects()).map(|object| lab.name(object)).collect(),
                reference: probability(&truth.reference),
                target,
                learned,
            },
            lab => {
                let mut order: Vec<usize> = (0..lab.objects()).collect();
                order.sort_by(|&a, &b| target[b].total_cmp(&target[a]));
                let shown = ranks(order.len());
                let pick = |p: &[f64]| shown.iter().map(|&rank| p[order[rank]]).collect();
                let what = format!(
                    "{} of {} objects, from the most to the least probable under the target.",
                    if shown.len() == order.len() { "All".to_owned() } else { shown.len().to_string() },
                    order.len()
                );
                Self::Ranked {
                    what,
                    names: shown.iter().map(|&rank| lab.name(order[rank])).collect(),
                    ranks: shown.iter().map(|rank| rank + 1).collect(),
                    target: pick(&target),
                    learned: pick(&learned),
                    fixed_point: truth.fixed_point.as_ref().map(|fixed| pick(&probability(&fixed.log_probs))),
                }
            }
        }
    }

    /// Writes `distribution.json`.
    pub(crate) fn write(&self, directory: &RunDir) -> Result<()> {
        Ok(atomic_write(&directory.distribution(), &serde_json::to_vec(self)?)?)
    }

    /// Reads `distribution.json`, or returns `None` if the run has none.
    pub(crate) fn read(directory: &RunDir) -> Result<Option<Self>> {
        let path = directory.distribution();
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("in {}", path.display()))
    }
}

/// Sums the probabilities of the objects in each cell. Cells of a large map are merged into blocks.
fn heat(
    what: String,
    rows: usize,
    columns: usize,
    target: &[f64],
    learned: &[f64],
    cell: impl Fn(usize) -> [usize; 2],
) -> Picture {
    let block = rows.max(columns).div_ceil(MOST_CELLS);
    let (rows, columns) = (rows.div_ceil(block), columns.div_ceil(block));
    let sum = |p: &[f64]| {
        let mut cells = vec![0.0; rows * columns];
        for (object, p) in p.iter().enumerate() {
            let [row, column] = cell(object);
            cells[row / block * columns + column / block] += p;
        }
        cells
    };
    Picture::Heat { what, columns, rows, target: sum(target), learned: sum(learned) }
}

/// Returns all ranks, or if there are too many, up to [`MOST_RANKS`] of them at growing distances.
fn ranks(count: usize) -> Vec<usize> {
    if count <= MOST_RANKS {
        return (0..count).collect();
    }
    let last = (count - 1) as f64;
    let place = |i: usize| ((last + 1.0).powf(i as f64 / (MOST_RANKS - 1) as f64) - 1.0).round() as usize;
    let mut ranks: Vec<usize> = (0..MOST_RANKS).map(place).map(|rank| rank.min(count - 1)).collect();
    ranks.dedup();
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_reach_from_the_first_to_the_last() {
        assert_eq!(ranks(3), [0, 1, 2]);
        let many = ranks(1_000_000);
        assert!(many.len() > 250 && many[..2] == [0, 1] && many.last() == Some(&999_999), "{many:?}");
        assert!(many.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn blocks_keep_the_mass() {
        let p = vec![1.0 / 10_000.0; 10_000];
        let Picture::Heat { columns, rows, target, .. } = heat(String::new(), 100, 100, &p, &p, |i| [i / 100, i % 100])
        else {
            panic!("a heat map");
        };
        assert_eq!((columns, rows), (34, 34));
        assert!((target.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
