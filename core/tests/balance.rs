//! Compares sub-trajectory and detailed balance with the sum over every pair of positions, and with their limits.

use flowrl_core::objective::{Balance, Error, FlowRl, Length, LogZ, Objective, Sequence, Shape, TokenMask};
use flowrl_core::random::{Purpose, Stream};

/// A completion of n tokens, with its reward and log Z.
struct Walk {
    reward: f64,
    log_z: f64,
    /// log π, log π_ref and log F of each token.
    columns: [Vec<f64>; 3],
}

impl Walk {
    fn new(n: usize, seed: u32) -> Self {
        let stream = Stream::new(3, Purpose::Task);
        let column = |c| (0..n).map(|t| stream.normal(seed, c, t as u32)).collect();
        Self {
            reward: stream.normal(seed, 9, 0),
            log_z: stream.normal(seed, 9, 1),
            columns: [column(0), column(1), column(2)],
        }
    }

    fn sequence(&self) -> Sequence<'_, f64> {
        Sequence {
            reward: self.reward,
            log_probs: &self.columns[0],
            ref_log_probs: Some(&self.columns[1]),
            log_flows: Some(&self.columns[2]),
            log_z: Some(self.log_z),
            ..Sequence::default()
        }
    }

    /// Computes the weighted mean of squares over all pairs in a plain double loop.
    fn pairs(&self, beta: f64, weight: impl Fn(usize, usize) -> f64) -> f64 {
        let [l, reference, flows] = &self.columns;
        let n = l.len();
        let flow = |t: usize| match t {
            _ if t == n => beta * self.reward,
            0 => self.log_z,
            _ => flows[t],
        };
        let (mut total, mut weights) = (0.0, 0.0);
        for i in 0..n {
            for j in i + 1..=n {
                let ratio: f64 = (i..j).map(|t| l[t] - reference[t]).sum();
                let w = weight(i, j);
                total += w * (flow(i) + ratio - flow(j)).powi(2);
                weights += w;
            }
        }
        total / weights
    }
}

fn objective(balance: Balance) -> Objective {
    Objective::FlowRl(FlowRl::exact_tb().with_beta(1.5).with_balance(balance).with_log_z(LogZ::Given))
}

fn loss(balance: Balance, walks: &[Walk]) -> f64 {
    let sequences: Vec<_> = walks.iter().map(Walk::sequence).collect();
    objective(balance).compute(&sequences).expect("valid input").loss
}

#[track_caller]
fn assert_close(got: f64, wanted: f64, tolerance: f64) {
    assert!((got - wanted).abs() <= tolerance * wanted.abs().max(1.0), "{got}, wanted {wanted}");
}

#[test]
fn one_pass_equals_the_sum_over_pairs() {
    for lambda in [0.3_f64, 0.9, 0.999, 1.0] {
        let walks: Vec<_> = [1, 2, 5, 40].iter().zip(0..).map(|(&n, seed)| Walk::new(n, seed)).collect();
        let wanted = walks.iter().map(|w| w.pairs(1.5, |i, j| lambda.powi((j - i) as i32))).sum::<f64>() / 4.0;
        assert_close(loss(Balance::SubTrajectory(lambda), &walks), wanted, 1e-12);
    }
    let walks = [Walk::new(7, 1)];
    let wanted = walks[0].pairs(1.5, |i, j| f64::from(j == i + 1));
    assert_close(loss(Balance::Detailed, &walks), wanted, 1e-13);
}

#[test]
fn the_limits_are_trajectory_and_detailed_balance() {
    let mut walks = [Walk::new(8, 4), Walk::new(5, 5)];
    assert_close(loss(Balance::SubTrajectory(1e-14), &walks), loss(Balance::Detailed, &walks), 1e-12);
    // For this λ only the whole trajectory counts, so the flows do not matter.
    walks.iter_mut().for_each(|w| w.columns[2].fill(0.0));
    let (whole, sub) = (objective(Balance::Trajectory), objective(Balance::SubTrajectory(1e15)));
    let sequences: Vec<_> = walks.iter().map(Walk::sequence).collect();
    let (whole, sub) = (whole.compute(&sequences).expect("valid"), sub.compute(&sequences).expect("valid"));
    assert_close(sub.loss, whole.loss, 1e-12);
    for i in 0..2 {
        assert_close(sub.d_log_z[i], whole.d_log_z[i], 1e-12);
        assert_eq!(sub.residuals[i], whole.residuals[i]);
        sub.d_log_probs(i).iter().zip(whole.d_log_probs(i)).for_each(|(&a, &b)| assert_close(a, b, 1e-12));
        assert!(sub.d_log_flows(i).iter().all(|d| d.abs() < 1e-12) && whole.d_log_flows(i).is_empty());
    }
}

#[test]
fn gradients_are_finite_differences() {
    for balance in
        [Balance::SubTrajectory(0.3), Balance::SubTrajectory(0.9), Balance::SubTrajectory(1.0), Balance::Detailed]
    {
        let mut walks = [Walk::new(6, 6), Walk::new(1, 7), Walk::new(0, 8)];
        let sequences: Vec<_> = walks.iter().map(Walk::sequence).collect();
        let step = objective(balance).compute(&sequences).expect("valid input");
        let h = 1e-5;
        for i in 0..walks.len() {
            let mut slope = |shift: &dyn Fn(&mut Walk, f64)| {
                let mut at = |h| {
                    shift(&mut walks[i], h);
                    let loss = loss(balance, &walks);
                    shift(&mut walks[i], -h);
                    loss
                };
                (at(h) - at(-h)) / (2.0 * h)
            };
            assert_close(step.d_log_z[i], slope(&|w, h| w.log_z += h), 1e-9);
            for t in 0..step.d_log_probs(i).len() {
                assert_close(step.d_log_probs(i)[t], slope(&|w, h| w.columns[0][t] += h), 1e-9);
                assert_close(-step.d_log_probs(i)[t], slope(&|w, h| w.columns[1][t] += h), 1e-9);
                assert_close(step.d_log_flows(i)[t], slope(&|w, h| w.columns[2][t] += h), 1e-9);
            }
        }
    }
}

#[test]
fn single_precision_is_close_to_double() {
    let walk = Walk::new(60, 11);
    let single: [Vec<f32>; 3] = [0, 1, 2].map(|c| walk.columns[c].iter().map(|&x| x as f32).collect());
    let sequence = Sequence {
        reward: walk.reward as f32,
        log_probs: &single[0],
        ref_log_probs: Some(&single[1]),
        log_flows: Some(&single[2]),
        log_z: Some(walk.log_z as f32),
        ..Sequence::default()
    };
    let rough = objective(Balance::SubTrajectory(0.9)).compute(&[sequence]).expect("valid input");
    let exact = objective(Balance::SubTrajectory(0.9)).compute(&[walk.sequence()]).expect("valid input");
    assert_close(rough.loss, exact.loss, 1e-6);
    for (&a, &b) in rough.d_log_probs(0).iter().zip(exact.d_log_probs(0)) {
        assert!((f64::from(a) - b).abs() < 1e-5, "{a}, wanted {b}");
    }
}

#[test]
fn bad_input_says_what_to_change() {
    type Change = fn(&mut FlowRl);
    let flow = |change: Change| {
        let mut options = FlowRl::exact_tb().with_balance(Balance::Detailed).with_log_z(LogZ::Given);
        change(&mut options);
        Objective::FlowRl(options)
    };
    let conflicts: [(Change, &str); 3] = [
        (|o| o.length = Length::Mean, "length"),
        (|o| o.token_mask = TokenMask::Cispo, "token_mask"),
        (|o| o.shape = Shape::Huber, "shape"),
    ];
    for (change, wanted) in conflicts {
        assert!(matches!(flow(change).validate(), Err(Error::Conflict { option, .. }) if option == wanted));
    }
    assert!(flow(|o| o.balance = Balance::SubTrajectory(0.0)).validate().is_err());

    let walk = Walk::new(3, 1);
    let missing = flow(|_| ()).compute(&[Sequence { log_flows: None, ..walk.sequence() }]).expect_err("no flows");
    assert!(matches!(missing, Error::Missing { argument: "log_flows", .. }));
    let nan = flow(|_| ()).compute(&[Sequence { log_flows: Some(&[0.0, f64::NAN, 0.0]), ..walk.sequence() }]);
    assert!(matches!(nan, Err(Error::NonFinite { argument: "log_flows", sequence: 0, token: Some(1), .. })));
}
