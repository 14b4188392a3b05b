//! Results have the same bits on any number of threads and for any other content of the batch, and no cached row
//! survives an update.

use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{Balance, LogZ};
use flowrl_core::optim::AdamW;
use flowrl_core::policy::{Graph, Model, Policy, Sequences};
use flowrl_lab::{Backward, Environment, HeadOptions, LabPolicy, Mlp, MlpOptions, Network};

use super::harness::{Padded, bits, chain, forward, gradient, grid, randomise, request, sample, tb};

fn mlp<E: Environment>(cpu: CpuBackend<f32>, environment: E, width: usize) -> LabPolicy<f32, E, Mlp<f32>> {
    let heads = HeadOptions { flows: true, ..HeadOptions::default() };
    let mut policy = LabPolicy::mlp(cpu, environment, MlpOptions { width, layers: 2 }, heads, 11).expect("a policy");
    randomise(&mut policy);
    policy
}

#[test]
fn the_benchmark_has_these_many_weights() {
    for (side, dim, wanted) in [(8, 2, 71_429), (8, 4, 76_553), (20, 4, 88_841)] {
        let (cpu, heads) = (CpuBackend::<f32>::reference(), HeadOptions::default());
        let policy = LabPolicy::mlp(cpu, grid(side, dim), MlpOptions::default(), heads, 0).expect("a policy");
        assert_eq!(policy.weights(), wanted);
        // The weights are drawn as in PyTorch's Linear: uniformly in ±1/√inputs.
        for (parameter, bound) in policy.parameters().iter().zip([dim * side, dim * side, 256, 256, 256, 256]) {
            let bound = 1.0 / (bound as f32).sqrt();
            let largest = parameter.value.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
            assert!(largest <= bound && largest > 0.7 * bound, "{}: {largest} of {bound}", parameter.name);
        }
    }
}

#[test]
fn sampled_log_probs_are_those_of_a_forward_pass() {
    for (cpu, temperature) in [(CpuBackend::reference(), 1.0), (CpuBackend::new(2), 0.6)] {
        let mut policy = mlp(cpu, Padded(grid(8, 2)), 16);
        let drawn = sample(&mut policy, 40, temperature);
        assert!(drawn.ended.iter().all(|e| *e) && drawn.len() == 40);
        assert_eq!(bits(&drawn.log_probs), bits(&forward(&mut policy, &drawn.slices(), temperature)));
        policy.parameters_mut(); // This discards the cached rows.
        assert_eq!(bits(&drawn.log_probs), bits(&forward(&mut policy, &drawn.slices(), temperature)));
    }
}

/// Returns the bits of the log-probabilities, P_B, flows and gradient of 50 trajectories.
fn everything<E: Environment, N: Network<f32>>(policy: &mut LabPolicy<f32, E, N>) -> [Vec<u64>; 4] {
    let drawn = sample(policy, 50, 1.0);
    let objective = tb(|o| (o.balance, o.log_z) = (Balance::SubTrajectory(0.9), LogZ::Scalar));
    chain(policy, &drawn.slices(), &objective, 0.3, 1.0, true);
    let flows = bits(policy.log_flows().expect("flows"));
    [bits(&drawn.log_probs), bits(policy.log_backward()), flows, bits(&gradient(policy))]
}

#[test]
fn threads_and_evaluating_whole_change_no_bit() {
    let wanted = everything(&mut mlp(CpuBackend::new(1), grid(8, 2), 256));
    assert!(wanted.iter().all(|column| column.iter().any(|x| *x != 0)));
    assert_eq!(wanted, everything(&mut mlp(CpuBackend::new(2), grid(8, 2), 256)), "two threads");
    assert_eq!(wanted, everything(&mut mlp(CpuBackend::new(3), Padded(grid(8, 2)), 256)), "not whole");
    assert_eq!(wanted, everything(&mut mlp(CpuBackend::new(1), Padded(grid(8, 2)), 256)), "not whole, one thread");
}

#[test]
fn company_changes_no_bit() {
    let mut policy = mlp(CpuBackend::new(1), Padded(grid(8, 2)), 32);
    let drawn = sample(&mut policy, 20, 1.0);
    for i in (0..20).rev() {
        policy.parameters_mut();
        let alone = forward(&mut policy, &[drawn.get(i)], 1.0);
        assert_eq!(bits(&alone), bits(&drawn.log_probs[drawn.offsets[i]..drawn.offsets[i + 1]]));
    }
    // Trajectory 3 of 5 is the same as trajectory 3 of 20.
    assert_eq!(sample(&mut policy, 5, 1.0).get(3), drawn.get(3));
    // Scoring other completions or computing metrics between forward and backward does not change the gradient.
    let objective = tb(|o| o.log_z = LogZ::Scalar);
    let slices = drawn.slices();
    chain(&mut policy, &slices, &objective, 0.0, 1.0, true);
    let wanted = bits(&gradient(&policy));
    policy.zero_grad().expect("a gradient");
    policy.parameters_mut();
    policy.log_pf_table().expect("a table");
    forward(&mut policy, &slices[4..9], 1.0);
    chain(&mut policy, &slices, &objective, 0.0, 1.0, true);
    assert_eq!(wanted, bits(&gradient(&policy)));
}

#[test]
fn another_temperature_between_forward_and_backward_is_harmless() {
    let run = |disturb: bool| {
        let mut policy = mlp(CpuBackend::new(1), Padded(grid(5, 2)), 16);
        let drawn = sample(&mut policy, 8, 1.0);
        let log_probs = forward(&mut policy, &drawn.slices(), 1.0);
        if disturb {
            let slices = drawn.slices();
            let sequences = Sequences { prompts: &[&[0]], completions: &slices, prompt_of: &[0; 8] };
            assert_ne!(policy.score(&sequences, Model::Policy, 2.0).expect("legal actions").log_probs, log_probs);
        }
        policy.backward(&log_probs, None, None).expect("after a forward pass");
        bits(&gradient(&policy))
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn no_row_survives_an_update() {
    for padded in [false, true] {
        let environment: Box<dyn Environment> =
            if padded { Box::new(Padded(grid(5, 2))) } else { Box::new(grid(5, 2)) };
        let mut policy = mlp(CpuBackend::new(1), environment, 16);
        let drawn = sample(&mut policy, 8, 1.0);
        let slices = drawn.slices();
        let before = forward(&mut policy, &slices, 1.0);
        policy.backward(&vec![1.0; before.len()], None, None).expect("after a forward pass");
        policy.update(&AdamW::default().step(0.01, 1, 1.0)).expect("an update");
        let after = forward(&mut policy, &slices, 1.0);
        assert_ne!(before, after);
        let state = policy.state().expect("a state");
        let mut fresh = mlp(CpuBackend::new(1), Padded(grid(5, 2)), 16);
        assert_eq!(bits(&forward(&mut fresh, &slices, 1.0)), bits(&before));
        let get = |name: &str| state.iter().find(|(n, _)| n == name).map(|(_, values)| values.clone());
        fresh.restore(get).expect("the same shape");
        assert_eq!(bits(&forward(&mut fresh, &slices, 1.0)), bits(&after), "restored");
        assert_eq!(state, fresh.state().expect("a state"));
        assert!(fresh.restore(|_| None).is_err_and(|e| e.to_string().contains("layers.0.weight.value")));
    }
}

#[test]
fn tables_are_normalised_distributions_that_scores_agree_with() {
    for backward in [Backward::Learned, Backward::Uniform] {
        let heads = HeadOptions { backward, flows: true };
        let environment = grid(4, 3);
        let mlp = MlpOptions { width: 8, layers: 1 };
        let mut policy = LabPolicy::mlp(CpuBackend::<f64>::reference(), &environment, mlp, heads, 3).expect("a policy");
        let (forward_table, backward_table) =
            (policy.log_pf_table().expect("finite"), policy.log_pb_table().expect("finite"));
        let flows = policy.log_flow_table().expect("finite");
        for state in 0..environment.states() {
            let (pf, pb) = (&forward_table[state * 4..][..4], &backward_table[state * 3..][..3]);
            let total = |l: &[f64]| l.iter().map(|l| l.exp()).sum::<f64>();
            assert!((total(pf) - 1.0).abs() < 1e-12);
            assert!((0..4).all(|a| pf[a].is_finite() == environment.step(state, a).is_some()));
            let parents = (0..3).filter(|&k| environment.parent(state, k).is_some()).count();
            assert!((total(pb) - if parents > 0 { 1.0 } else { 0.0 }).abs() < 1e-12);
            if backward == Backward::Uniform {
                assert!(pb.iter().all(|l| !l.is_finite() || (l.exp() * parents as f64 - 1.0).abs() < 1e-12));
            }
        }
        let l = forward(&mut policy, &[&[0, 0, 2, 3]], 1.0);
        let visited = [0, 16, 32, 33];
        for (t, (&state, action)) in visited.iter().zip([0, 0, 2, 3]).enumerate() {
            assert_eq!(l[t], forward_table[state * 4 + action]);
            let wanted = visited.get(t + 1).map_or(0.0, |next| backward_table[next * 3 + action]);
            assert_eq!(policy.log_backward()[t], wanted);
            assert_eq!(policy.log_flows().expect("flows")[t], flows[state]);
        }
    }
}

#[test]
fn exploration_draws_from_the_mixture_and_scores_the_policy() {
    let mut policy = mlp(CpuBackend::new(1), grid(4, 2), 8);
    policy.set_exploration(0.25).expect("a probability");
    let drawn = sample(&mut policy, 4000, 1.0);
    let clean = forward(&mut policy, &drawn.slices(), 1.0);
    let first: Vec<usize> = drawn.offsets[..4000].to_vec();
    for action in 0..3 {
        let mine: Vec<usize> = first.iter().copied().filter(|&i| drawn.tokens[i] == action).collect();
        let mixture = 0.75 * f64::from(clean[mine[0]]).exp() + 0.25 / 3.0;
        assert!((f64::from(drawn.log_probs[mine[0]]).exp() - mixture).abs() < 1e-6);
        assert!((mine.len() as f64 / 4000.0 - mixture).abs() < 0.03);
    }
    policy.set_exploration(0.0).expect("a probability");
    assert_eq!(policy.sample(&request(9, 1.0)).expect("trajectories"), sample(&mut policy, 9, 1.0));
}

#[test]
fn greedy_takes_the_best_action() {
    let mut policy = mlp(CpuBackend::new(1), grid(4, 2), 8);
    let drawn = sample(&mut policy, 2, 0.0);
    assert_eq!(drawn.get(0), drawn.get(1));
    let table = policy.log_pf_table().expect("finite");
    let best = (0..3).fold(0, |b, a| if table[a] > table[b] { a } else { b });
    assert_eq!((drawn.tokens[0] as usize, drawn.log_probs[0].f64()), (best, table[best].f64()));
}
