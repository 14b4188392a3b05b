//! Compares the gradient of every weight with central differences, through the whole chain.

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{Balance, LogZ, Objective, Preset};
use flowrl_lab::{Backward, Environment, HeadOptions, LabPolicy, MlpOptions, Network, Strings, StringsOptions};

use super::harness::{Padded, chain, gradient, grid, randomise, sample, tb};

fn check<E: Environment, N: Network<f64>>(mut policy: LabPolicy<f64, E, N>, objective: &Objective, temperature: f64) {
    randomise(&mut policy);
    let completions = sample(&mut policy, 6, temperature);
    let completions = completions.slices();
    let log_z = 0.7;
    let (_, d_log_z) = chain(&mut policy, &completions, objective, log_z, temperature, true);
    let grad = gradient(&policy);
    assert!(grad.iter().any(|g| g.abs() > 1e-3), "a gradient");

    let h = 1e-5;
    if d_log_z != 0.0 {
        let mut at = |z| chain(&mut policy, &completions, objective, z, temperature, false).0;
        let wanted = (at(log_z + h) - at(log_z - h)) / (2.0 * h);
        assert!((wanted - d_log_z).abs() < 1e-7 * wanted.abs().max(1.0), "log Z: {d_log_z}, wanted {wanted}");
    }
    let mut index = 0;
    for p in 0..policy.parameters().len() {
        for i in 0..policy.parameters()[p].len {
            let mut at = |shift: f64| {
                policy.parameters_mut()[p].value[i] += shift;
                let loss = chain(&mut policy, &completions, objective, log_z, temperature, false).0;
                policy.parameters_mut()[p].value[i] -= shift;
                loss
            };
            let wanted = (at(h) - at(-h)) / (2.0 * h);
            let (got, name) = (grad[index], &policy.parameters()[p].name);
            assert!((wanted - got).abs() < 2e-7 * wanted.abs().max(1.0), "{name}[{i}]: {got}, wanted {wanted}");
            index += 1;
        }
    }
}

fn objectives() -> Vec<(Objective, HeadOptions)> {
    let mut all = Vec::new();
    for backward in [Backward::Learned, Backward::Uniform] {
        let heads = |flows| HeadOptions { backward, flows };
        all.push((tb(|o| o.log_z = LogZ::Scalar), heads(false)));
        all.push((tb(|o| o.log_z = LogZ::GroupMean), heads(true)));
        for balance in [Balance::SubTrajectory(0.9), Balance::Detailed] {
            let objective = tb(|o| (o.balance, o.log_z, o.beta) = (balance, LogZ::Scalar, 0.8));
            all.push((objective, heads(true)));
        }
    }
    let heads = HeadOptions { backward: Backward::Learned, flows: true };
    all.push((Preset::Reinforce.policy_gradient().expect("one").with_entropy(0.7).into(), heads));
    all
}

#[test]
fn a_table() {
    for (objective, heads) in objectives() {
        for temperature in [1.0, 0.7] {
            check(
                LabPolicy::table(CpuBackend::reference(), grid(3, 2), heads).expect("a policy"),
                &objective,
                temperature,
            );
        }
    }
}

#[test]
fn networks_of_any_shape() {
    for (objective, heads) in objectives() {
        for (layers, width) in [(0, 4), (1, 5), (2, 4), (3, 3)] {
            let mlp = MlpOptions { width, layers };
            for cpu in [CpuBackend::reference(), CpuBackend::new(2)] {
                check(LabPolicy::mlp(cpu, grid(3, 2), mlp, heads, 5).expect("a policy"), &objective, 1.3);
            }
        }
        let mlp = MlpOptions { width: 4, layers: 2 };
        check(
            LabPolicy::mlp(CpuBackend::new(1), Padded(grid(3, 2)), mlp, heads, 5).expect("a policy"),
            &objective,
            1.0,
        );
    }
}

#[test]
fn on_a_tree_flows_balance_with_the_reference() {
    let strings = Strings::new(StringsOptions { length: 3, symbols: 2, modes: 1, seed: 7 }).expect("strings");
    for balance in [Balance::Trajectory, Balance::SubTrajectory(0.9), Balance::Detailed] {
        let objective = tb(|o| (o.balance, o.log_z) = (balance, LogZ::Scalar));
        let heads = HeadOptions { flows: true, ..HeadOptions::default() };
        let mlp = MlpOptions { width: 4, layers: 1 };
        check(LabPolicy::mlp(CpuBackend::reference(), &strings, mlp, heads, 5).expect("a policy"), &objective, 1.0);
    }
}
