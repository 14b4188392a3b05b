//! The contract of the lab's tasks, checked by enumeration on all of them.

use std::collections::HashSet;

use flowrl_core::exact::log_sum_exp;
use flowrl_core::task::{Attempt, Judgement, Task};
use flowrl_lab::{Environment, LabTask, Outcome, Target, Walk, lengths, reference, terminal, walk};

use crate::environments::{environments, log_softmax, trajectories};
use crate::numeric::{assert_close, numbers};

/// Runs a check on every task. The last name printed is that of the failed task.
fn on_each(check: impl Fn(&dyn Environment)) {
    for (name, environment) in environments() {
        println!("{name}");
        check(&*environment);
    }
}

fn legal(environment: &dyn Environment, state: usize) -> Vec<(usize, Outcome)> {
    (0..environment.actions()).filter_map(|a| environment.step(state, a).map(|outcome| (a, outcome))).collect()
}

#[test]
fn every_state_and_object_is_reached_in_ascending_order() {
    on_each(|env| {
        let mut states = vec![false; env.states()];
        let mut objects = vec![0; env.objects()];
        states[0] = true;
        for state in 0..env.states() {
            assert!(states[state], "state {state} is not reached");
            let actions = legal(env, state);
            assert!(!actions.is_empty(), "state {state} has no legal action");
            for (action, outcome) in actions {
                match outcome {
                    Outcome::State(next) => {
                        assert!(next > state, "action {action} leads from {state} back to {next}");
                        states[next] = true;
                    }
                    Outcome::Object(object) => objects[object] += 1,
                }
            }
            for action in [env.actions(), usize::MAX] {
                assert_eq!(env.step(state, action), None, "beyond the last action");
            }
        }
        assert!(objects.iter().all(|&ends| ends == 1), "each object ends one state: {objects:?}");
    });
}

#[test]
fn descriptions_tell_states_apart() {
    on_each(|env| {
        let mut seen = HashSet::new();
        let mut ones = Vec::new();
        env.describe(0, &mut ones);
        let count = ones.len();
        assert!(count > 0);
        for state in 0..env.states() {
            ones.clear();
            env.describe(state, &mut ones);
            assert_eq!(ones.len(), count, "state {state}");
            assert!(ones.iter().all(|&one| (one as usize) < env.features()), "state {state}: {ones:?}");
            ones.sort_unstable();
            assert!(ones.windows(2).all(|pair| pair[0] < pair[1]), "state {state} has a place twice: {ones:?}");
            assert!(seen.insert(ones.clone()), "state {state} looks like another: {ones:?}");
        }
    });
}

#[test]
fn parents_are_the_inverse_of_steps() {
    on_each(|env| {
        let mut incoming = vec![HashSet::new(); env.states()];
        for state in 0..env.states() {
            for (action, outcome) in legal(env, state) {
                if let Outcome::State(next) = outcome {
                    incoming[next].insert((state, action));
                }
            }
        }
        if env.parents() == 0 {
            assert!(incoming.iter().skip(1).all(|parents| parents.len() == 1), "no tree");
        }
        for (state, incoming) in incoming.iter().enumerate() {
            let parents: Vec<_> = (0..env.parents()).filter_map(|k| env.parent(state, k)).collect();
            let distinct: HashSet<_> = parents.iter().copied().collect();
            assert_eq!(distinct.len(), parents.len(), "state {state} has a parent twice");
            if env.parents() > 0 {
                assert_eq!(&distinct, incoming, "state {state}");
            }
            assert_eq!(env.parent(state, env.parents()), None, "beyond the last parent");
        }
    });
}

#[test]
fn the_reference_is_normalised() {
    on_each(|env| {
        for state in 0..env.states() {
            let log_probs: Vec<f64> = legal(env, state).iter().map(|&(a, _)| env.log_reference(state, a)).collect();
            assert!(log_sum_exp(&log_probs).abs() < 1e-12, "state {state}: {log_probs:?}");
        }
        let mut log_probs = vec![0.0; env.objects()];
        reference(env, &mut log_probs).expect("finite");
        assert!(log_sum_exp(&log_probs).abs() < 1e-12);
    });
}

#[test]
fn the_longest_trajectory_is_as_long_as_promised() {
    on_each(|env| {
        let lengths = lengths(env);
        assert_eq!(lengths.iter().max(), Some(&env.max_length()));
        assert!(lengths.iter().all(|&length| length > 0));
    });
}

#[test]
fn rewards_are_finite_and_some_object_is_a_mode() {
    on_each(|env| {
        assert!((0..env.objects()).all(|x| env.reward(x).is_finite()));
        let modes: Vec<usize> = (0..env.objects()).filter(|&x| env.is_mode(x)).collect();
        // A grid with fewer than 7 points per dimension has no band.
        assert_eq!(modes.is_empty(), env.parents() > 0 && env.features() / env.parents() < 7);
        assert_eq!(Target::plain(env, 1.0).expect("finite").modes, modes);
    });
}

#[test]
fn terminal_masses_sum_to_one_for_any_policy() {
    on_each(|env| {
        for (seed, spread) in [(1, 1.0), (2, 5.0), (3, 30.0)] {
            let logits: Vec<f64> = numbers(seed, env.states() * env.actions()).iter().map(|x| x * spread).collect();
            let mut log_probs = vec![0.0; env.objects()];
            terminal(env, &log_softmax(env, &logits), &mut log_probs).expect("finite");
            assert!(log_sum_exp(&log_probs).abs() < 1e-12, "{}", log_sum_exp(&log_probs));
        }
    });
}

#[test]
fn terminal_masses_are_sums_over_all_trajectories() {
    on_each(|env| {
        if env.states() > 100 {
            return; // 2D8 has 12,869 trajectories, and 3D6 more than 10⁶.
        }
        let log_pf = log_softmax(env, &numbers(4, env.states() * env.actions()));
        let mut wanted = vec![0.0; env.objects()];
        let mut longest = vec![0; env.objects()];
        for trajectory in trajectories(env) {
            let log_prob: f64 = trajectory.steps.iter().map(|(s, a)| log_pf[s * env.actions() + a]).sum();
            wanted[trajectory.object] += log_prob.exp();
            longest[trajectory.object] = longest[trajectory.object].max(trajectory.steps.len());
        }
        let mut got = vec![0.0; env.objects()];
        terminal(env, &log_pf, &mut got).expect("finite");
        let got: Vec<f64> = got.iter().map(|l| l.exp()).collect();
        assert_close(&got, &wanted, 1e-12);
        assert_eq!(lengths(env), longest);
    });
}

fn judge(task: &impl Task, completion: &[u32]) -> Judgement {
    task.judge(Attempt { prompt: 0, completion, ended: true }).expect("the lab judges any walk")
}

#[test]
fn judgements_follow_the_walk() {
    on_each(|env| {
        let task = LabTask::new(env);
        let least = (0..env.objects()).map(|x| env.reward(x)).fold(f64::INFINITY, f64::min);
        assert_eq!((task.prompts(), task.prompt(0)), (1, &[0][..]));
        if env.states() > 20 {
            return;
        }
        for trajectory in trajectories(env) {
            let actions: Vec<u32> = trajectory.steps.iter().map(|&(_, a)| a as u32).collect();
            assert_eq!(walk(env, &actions), Walk::Finished(trajectory.object));
            let judgement = judge(&task, &actions);
            assert_eq!(judgement.reward, Some(env.reward(trajectory.object)));
            assert_eq!(judgement.verdict, if env.is_mode(trajectory.object) { "mode" } else { "other" });

            let last = actions.len() - 1;
            assert_eq!(walk(env, &actions[..last]), Walk::Unfinished(trajectory.steps[last].0));
            let beyond = [&actions[..], &[0]].concat();
            assert_eq!(walk(env, &beyond), Walk::Illegal { token: last + 1 });
            for (actions, verdict) in [(&actions[..last], "unfinished"), (&beyond, "illegal"), (&[u32::MAX], "illegal")]
            {
                let judgement = judge(&task, actions);
                assert_eq!((judgement.reward, &*judgement.verdict), (Some(least), verdict));
            }
        }
    });
}

#[test]
fn measures_vanish_at_the_target_and_agree_with_each_other() {
    on_each(|env| {
        for target in [Target::plain(env, 2.0), Target::length_normalised(env, 2.0)] {
            let target = target.expect("finite");
            assert!(log_sum_exp(&target.log_probs).abs() < 1e-10);
            let at = target.measure(&target.log_probs).expect("finite");
            assert_eq!((at.l1, at.kl, at.reverse_kl, at.modes_found), (0.0, 0.0, 0.0, at.modes));
            assert!(at.jsd.abs() < 1e-12);

            let mut log_probs = vec![0.0; env.objects()];
            terminal(env, &log_softmax(env, &numbers(6, env.states() * env.actions())), &mut log_probs)
                .expect("finite");
            let off = target.measure(&log_probs).expect("finite");
            assert_eq!(off.l1, 2.0 * off.tv);
            assert!(off.tv > 0.0 && off.kl >= 2.0 * off.tv * off.tv && off.jsd > 0.0 && off.reverse_kl > 0.0);
            let mass: f64 = target.modes.iter().map(|&x| log_probs[x].exp()).sum();
            assert_close(&[off.mode_mass], &[mass], 1e-12);
            assert_eq!(off.modes, target.modes.len());
            let reward: f64 = log_probs.iter().enumerate().map(|(x, l)| l.exp() * env.reward(x)).sum();
            assert_close(&[off.expected_reward], &[reward], 1e-12);
            assert!(off.named().iter().all(|(_, value)| value.is_finite()));
        }
    });
}

#[test]
fn bad_tables_are_refused() {
    use flowrl_core::exact::Error;
    on_each(|env| {
        let (pairs, objects) = (env.states() * env.actions(), env.objects());
        let mut log_pf = log_softmax(env, &vec![0.0; pairs]);
        let mut out = vec![0.0; objects];
        let short = terminal(env, &log_pf[1..], &mut out);
        assert_eq!(short, Err(Error::Length { argument: "log_pf", got: pairs - 1, wanted: pairs }));
        let short = terminal(env, &log_pf, &mut out[1..]);
        assert_eq!(short, Err(Error::Length { argument: "out", got: objects - 1, wanted: objects }));
        assert!(reference(env, &mut out[1..]).is_err());
        let (action, _) = legal(env, env.states() - 1)[0];
        let index = (env.states() - 1) * env.actions() + action;
        log_pf[index] = f64::NAN;
        let refused = terminal(env, &log_pf, &mut out).expect_err("not a number");
        assert!(matches!(refused, Error::NonFinite { argument: "log_pf", index: at, .. } if at == index));
        for beta in [f64::NAN, f64::INFINITY] {
            let refused = [Target::plain(env, beta), Target::length_normalised(env, beta)];
            assert!(refused.iter().all(|r| matches!(r, Err(Error::NonFinite { argument: "beta", .. }))), "{refused:?}");
        }
        let target = Target::plain(env, 1.0).expect("finite");
        assert!(target.measure(&out[1..]).is_err());
    });
}

/// An environment that a user might write. Action 0 ends with the object of the state's number, and action k leads to
/// the k-th state of `NEXT[state]`.
struct Shortcut;

const NEXT: [&[usize]; 5] = [&[1, 3], &[2], &[4], &[4], &[]];

impl Environment for Shortcut {
    fn states(&self) -> usize {
        5
    }
    fn objects(&self) -> usize {
        5
    }
    fn actions(&self) -> usize {
        3
    }
    fn max_length(&self) -> usize {
        4
    }
    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        let Some(k) = action.checked_sub(1) else { return Some(Outcome::Object(state)) };
        NEXT[state].get(k).copied().map(Outcome::State)
    }
    fn reward(&self, object: usize) -> f64 {
        object as f64
    }
    fn is_mode(&self, object: usize) -> bool {
        object == 4
    }
    fn log_reference(&self, state: usize, _action: usize) -> f64 {
        -((NEXT[state].len() + 1) as f64).ln()
    }
    fn parents(&self) -> usize {
        2
    }
    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        let edges = (0..5).flat_map(|from| NEXT[from].iter().zip(1..).map(move |(&to, action)| (to, (from, action))));
        edges.filter(|(to, _)| *to == state).map(|(_, parent)| parent).nth(k)
    }
    fn features(&self) -> usize {
        5
    }
    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        ones.push(state as u32);
    }
}

#[test]
fn a_task_of_ones_own_needs_the_trait_alone() {
    let mut log_probs = vec![0.0; 5];
    reference(&Shortcut, &mut log_probs).expect("finite");
    let wanted = [1.0 / 3.0, 1.0 / 6.0, 1.0 / 12.0, 1.0 / 6.0, 1.0 / 12.0 + 1.0 / 6.0].map(f64::ln);
    assert_close(&log_probs, &wanted, 1e-15);
    assert_eq!(lengths(&Shortcut), [1, 2, 3, 2, 4], "the longest way: 0 → 1 → 2 → 4 rather than 0 → 3 → 4");
    let target = Target::plain(&Shortcut, 1.0).expect("finite");
    let z: f64 = [0.0, 1.0, 2.0, 3.0, 4.0].map(f64::exp).iter().sum();
    assert_close(&[target.log_z], &[z.ln()], 1e-15);
    // The task is the same if the environment is shared, or its type chosen at run time.
    let (shared, boxed) = (std::rc::Rc::new(Shortcut), Box::new(Shortcut) as Box<dyn Environment>);
    assert_eq!(Target::plain(&shared, 1.0).expect("finite"), target);
    assert_eq!(judge(&LabTask::new(boxed), &[2, 1, 0]).verdict, "mode");
    assert_eq!(judge(&LabTask::new(&shared), &[1, 0]).reward, Some(1.0));
}
