//! Bad input gives an error that says how to fix it.

use flowrl_core::backend::{CpuBackend, Sampler};
use flowrl_core::objective::{Balance, LogZ, Objective, Preset};
use flowrl_core::policy::{Graph, Model, Policy, SampleRequest, Sequences};
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lab::{Environment, HeadOptions, LabPolicy, LabTask, MlpOptions, Outcome, PolicyError, Table};

use super::harness::{forward, grid, request, tb};

type Tabular = LabPolicy<f64, flowrl_lab::Hypergrid, Table<f64>>;

fn table() -> Tabular {
    LabPolicy::table(CpuBackend::reference(), grid(3, 2), HeadOptions::default()).expect("a policy")
}

#[track_caller]
fn says<V>(result: Result<V, PolicyError>, wanted: &[&str]) {
    let Err(error) = result else { panic!("must be refused: {wanted:?}") };
    for part in wanted {
        assert!(error.to_string().contains(part), "{error}, wanted {part}");
    }
}

#[test]
fn requests() {
    let with = |change: fn(&mut SampleRequest<'_>)| {
        let mut request = request(2, 1.0);
        change(&mut request);
        table().sample(&request)
    };
    says(with(|r| r.max_tokens = 4), &["`max_tokens` is 4", "5"]);
    says(with(|r| r.sampler = Sampler { top_k: 2, ..Sampler::default() }), &["`top_k` is 2"]);
    says(with(|r| r.sampler = Sampler { top_p: 0.9, ..Sampler::default() }), &["`top_p` is 0.9"]);
    says(with(|r| r.sampler.temperature = f64::NAN), &["`temperature` is NaN"]);
    says(with(|r| r.prompts = &[&[0], &[1]]), &["prompt 1 "]);
    says(with(|r| r.prompts = &[&[]]), &["prompt 0 "]);
    assert!(with(|r| r.max_tokens = 5).is_ok());
    says(table().set_exploration(1.5), &["`exploration` is 1.5"]);
}

#[test]
fn completions() {
    let forward = |completions: &[&[u32]]| {
        let zeros = vec![0; completions.len()];
        let sequences = Sequences { prompts: &[&[0]], completions, prompt_of: &zeros };
        table().forward(&sequences, 1.0, None)
    };
    says(forward(&[&[2], &[0, 0, 0, 2]]), &["token 2 of completion 1 is 0", "state 6"]);
    says(forward(&[&[9]]), &["token 0 of completion 0 is 9"]);
    says(forward(&[&[2, 2]]), &["token 1", "has already ended"]);
    assert!(forward(&[&[0, 1], &[]]).is_ok(), "an unfinished one may be scored");
}

#[test]
fn passes_in_the_wrong_order() {
    let mut policy = table();
    says(policy.backward(&[1.0], None, None), &["`forward`"]);
    forward(&mut policy, &[&[0, 2]], 1.0);
    says(policy.backward(&[1.0], None, None), &["`d_log_probs` has 1", "2"]);
    says(policy.backward(&[1.0; 2], Some(&[1.0]), None), &["`d_entropies` has 1", "2"]);
    policy.set_gradient(&[1.0], None);
    says(policy.backward(&[1.0; 2], None, None), &["`d_log_backward` has 1", "2"]);
    forward(&mut policy, &[&[0, 2]], 1.0);
    policy.parameters_mut();
    says(policy.backward(&[1.0; 2], None, None), &["`forward`"]);
}

#[test]
fn a_baseline_with_a_reference_where_there_is_none() {
    let train = |objective: Objective, heads: HeadOptions| {
        let mut policy = LabPolicy::table(CpuBackend::<f64>::reference(), grid(3, 2), heads).expect("a policy");
        let options = TrainOptions { prompts: 1, samples: 4, max_tokens: 5, ..TrainOptions::default() };
        let mut trainer = Trainer::new(&policy, objective, options).expect("good options");
        trainer.step(&mut policy, &LabTask::new(grid(3, 2))).map(|_| policy.log_pb_table().expect("finite"))
    };
    let baseline = |kl| Objective::PolicyGradient(Preset::Grpo.policy_gradient().unwrap().with_kl(kl));
    let error = train(baseline(0.04), HeadOptions::default()).expect_err("no reference").to_string();
    assert!(error.contains("`kl` 0"), "{error}");
    let uniform = train(baseline(0.0), HeadOptions::default()).expect("no reference is needed");
    assert!(uniform.iter().all(|l| !l.is_finite() || *l == 0.0 || *l == -2.0_f64.ln()), "a baseline moves no P_B");

    let detailed = tb(|o| (o.balance, o.log_z) = (Balance::Detailed, LogZ::Scalar));
    let error = train(detailed, HeadOptions::default()).expect_err("no flows").to_string();
    assert!(error.contains("`log_flows` is missing"), "{error}");
    assert!(train(detailed, HeadOptions { flows: true, ..HeadOptions::default() }).is_ok());
}

/// A chain of states that breaks one rule of the contract.
struct Broken(u32);

impl Environment for Broken {
    fn states(&self) -> usize {
        3
    }
    fn objects(&self) -> usize {
        1
    }
    fn actions(&self) -> usize {
        1
    }
    fn max_length(&self) -> usize {
        if self.0 == 4 { 2 } else { 3 }
    }
    fn step(&self, state: usize, _: usize) -> Option<Outcome> {
        match (state, self.0) {
            (1, 0) => Some(Outcome::State(0)),
            (1, 1) => None,
            (2, _) => Some(Outcome::Object(0)),
            _ => Some(Outcome::State(state + 1)),
        }
    }
    fn reward(&self, _: usize) -> f64 {
        0.0
    }
    fn is_mode(&self, _: usize) -> bool {
        false
    }
    fn log_reference(&self, _: usize, _: usize) -> f64 {
        0.0
    }
    fn parents(&self) -> usize {
        usize::from(self.0 == 5)
    }
    fn features(&self) -> usize {
        3
    }
    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        match self.0 {
            2 if state == 1 => {}
            3 if state == 1 => ones.push(3),
            _ => ones.push(state as u32),
        }
    }
}

#[test]
fn an_environment_that_breaks_its_contract() {
    let wanted = ["larger number", "legal", "`describe`", "`describe`", "`max_length()`", "parents"];
    for (rule, message) in (0..).zip(wanted) {
        let mlp = MlpOptions { width: 2, layers: 1 };
        let heads = HeadOptions::default();
        let policy = LabPolicy::mlp(CpuBackend::<f32>::reference(), Broken(rule), mlp, heads, 1);
        let mut policy = policy.expect("seen later");
        let scored = policy.sample(&request(1, 1.0)).and_then(|_| {
            let sequences = Sequences { prompts: &[&[0]], completions: &[&[0, 0, 0]], prompt_of: &[0] };
            policy.score(&sequences, Model::Policy, 1.0)
        });
        says(scored, &[message]);
    }
    let narrow = MlpOptions { width: 0, layers: 1 };
    says(
        LabPolicy::mlp(CpuBackend::<f32>::reference(), grid(3, 2), narrow, HeadOptions::default(), 1),
        &["`width` is 0"],
    );
}

#[test]
fn logits_that_are_not_numbers() {
    let mut policy = table();
    policy.parameters_mut()[0].value[3 * 5] = f64::NAN;
    let outcome = policy.sample(&request(50, 1.0));
    // Either the sampler finds no action and returns an error, or the objective will find the NaN later. Neither may
    // panic.
    assert!(outcome.map_or(true, |drawn| drawn.len() == 50));
}
