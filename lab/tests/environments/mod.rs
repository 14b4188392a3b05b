//! Shared code for the tests of the lab: its tasks, tabular policies over them, and all their trajectories.

use flowrl_lab::{
    Bandit, BanditOptions, BanditPreset, BanditReference, Bits, BitsOptions, Environment, Hypergrid, HypergridReward,
    Landscape, LandscapeOptions, LandscapePreset, Outcome, Strings, StringsOptions,
};

/// Returns a small instance of every kind of task, with its name.
pub(crate) fn environments() -> Vec<(String, Box<dyn Environment>)> {
    let mut all: Vec<(String, Box<dyn Environment>)> = Vec::new();
    for &preset in BanditPreset::ALL {
        for &reference in BanditReference::ALL {
            for size in [8, 50] {
                let bandit = Bandit::preset(BanditOptions { preset, size, reference, seed: 3 });
                all.push((format!("{preset} of {size}, {reference}"), Box::new(bandit.expect("valid"))));
            }
        }
    }
    for &preset in LandscapePreset::ALL {
        let landscape = Landscape::preset(LandscapeOptions { preset, side: 9, seed: 3 }).expect("valid");
        all.push((format!("landscape {preset}"), Box::new(landscape)));
    }
    for (side, dim) in [(2, 1), (8, 1), (3, 2), (8, 2), (6, 3), (2, 5)] {
        let grid = Hypergrid::new(side, dim, HypergridReward::Easy).expect("valid");
        all.push((format!("hypergrid {dim}D{side}"), Box::new(grid)));
    }
    for (bits, word) in [(1, 1), (6, 1), (6, 2), (6, 3), (6, 6)] {
        let bits = BitsOptions { bits, word, modes: 2, seed: 5 };
        all.push((format!("{bits:?}"), Box::new(Bits::from_options(bits).expect("valid"))));
    }
    for (length, symbols, modes) in [(1, 1, 1), (4, 1, 2), (3, 2, 3), (4, 3, 3)] {
        let strings = StringsOptions { length, symbols, modes, seed: 5 };
        all.push((format!("{strings:?}"), Box::new(Strings::new(strings).expect("valid"))));
    }
    all
}

/// Returns the log-softmax of `logits` over the legal actions, (states, A), and −∞ for the others.
pub(crate) fn log_softmax(environment: &dyn Environment, logits: &[f64]) -> Vec<f64> {
    let actions = environment.actions();
    let mut log_probs = vec![f64::NEG_INFINITY; logits.len()];
    for state in 0..environment.states() {
        let legal: Vec<usize> = (0..actions).filter(|&a| environment.step(state, a).is_some()).collect();
        let total: f64 = legal.iter().map(|a| logits[state * actions + a].exp()).sum();
        legal.iter().for_each(|a| log_probs[state * actions + a] = logits[state * actions + a] - total.ln());
    }
    log_probs
}

/// A trajectory and the object at its end.
pub(crate) struct Trajectory {
    pub(crate) steps: Vec<(usize, usize)>,
    pub(crate) object: usize,
}

/// Finds all trajectories of this environment by brute force.
pub(crate) fn trajectories(environment: &dyn Environment) -> Vec<Trajectory> {
    fn extend(environment: &dyn Environment, state: usize, steps: &mut Vec<(usize, usize)>, all: &mut Vec<Trajectory>) {
        for action in 0..environment.actions() {
            steps.push((state, action));
            match environment.step(state, action) {
                Some(Outcome::State(next)) => extend(environment, next, steps, all),
                Some(Outcome::Object(object)) => all.push(Trajectory { steps: steps.clone(), object }),
                None => {}
            }
            steps.pop();
        }
    }
    let mut all = Vec::new();
    extend(environment, 0, &mut Vec::new(), &mut all);
    all
}

/// Returns log P_B as the log-softmax of `logits` over the existing parents, (states, parents).
pub(crate) fn log_softmax_backward(environment: &dyn Environment, logits: &[f64]) -> Vec<f64> {
    let parents = environment.parents();
    let mut log_probs = vec![f64::NEG_INFINITY; logits.len()];
    for state in 0..environment.states() {
        let some: Vec<usize> = (0..parents).filter(|&k| environment.parent(state, k).is_some()).collect();
        let total: f64 = some.iter().map(|k| logits[state * parents + k].exp()).sum();
        some.iter().for_each(|k| log_probs[state * parents + k] = logits[state * parents + k] - total.ln());
    }
    log_probs
}

/// Returns L_ref of one trajectory, token by token: log π_ref on a tree, otherwise log P_B of the step (0 for the last
/// one).
pub(crate) fn reference_of(environment: &dyn Environment, log_pb: &[f64], trajectory: &Trajectory) -> Vec<f64> {
    let parents = environment.parents();
    let one = |&(state, action): &(usize, usize)| {
        if parents == 0 {
            return environment.log_reference(state, action);
        }
        let Some(Outcome::State(next)) = environment.step(state, action) else { return 0.0 };
        let k = (0..parents).find(|&k| environment.parent(next, k) == Some((state, action)));
        log_pb[next * parents + k.expect("the inverse of step")]
    };
    trajectory.steps.iter().map(one).collect()
}
