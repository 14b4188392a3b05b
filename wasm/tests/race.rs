//! Tests of a race apart from its trace: an explained update is the one that follows, snapshots are kept, and errors
//! name the bad input.

use flowrl_lab::{Landscape, LandscapeOptions};
use flowrl_wasm::{LaneKind, LaneOptions, MEASURES, Race, RaceOptions, shared};

fn race(kinds: &[LaneKind]) -> Race {
    let lane = |&kind: &LaneKind| LaneOptions { kind, exploration: 0.0, replay: 0.0 };
    let options = RaceOptions { lanes: kinds.iter().map(lane).collect(), ..RaceOptions::default() };
    Race::new(shared(Landscape::preset(LandscapeOptions::default()).expect("valid")), options).expect("valid")
}

/// Returns the probabilities of all answers under the policy of lane 0.
fn policy(race: &mut Race) -> Vec<f32> {
    race.frame().expect("finite")[MEASURES.len()..][..256].to_vec()
}

#[test]
fn what_is_explained_is_the_update_that_follows() {
    for &kind in LaneKind::ALL {
        let mut race = race(&[kind]);
        race.run(40).expect("finite");
        let before = policy(&mut race);
        let explained = race.explain(0, None).expect("finite");
        assert_eq!(policy(&mut race), before, "{}: the race stays where it is", kind.name());
        race.run(1).expect("finite");
        let narrow = |p: &[f64]| p.iter().map(|&p| p as f32).collect::<Vec<_>>();
        assert_eq!(narrow(&explained.before), before, "{}", kind.name());
        assert_eq!(narrow(&explained.after), policy(&mut race), "{}", kind.name());
        assert_ne!(explained.before, explained.after, "{}", kind.name());
        // PPO takes four steps on a batch and records their mean loss, but only the first step is explained.
        if kind != LaneKind::Ppo {
            assert_eq!(explained.loss, race.measure(0, "loss").expect("known"), "{}", kind.name());
        }
    }
}

#[test]
fn a_saved_race_goes_on_to_the_same_bits_and_another_is_refused() {
    let kinds = [LaneKind::FlowRl, LaneKind::Ppo];
    let (mut first, mut second) = (race(&kinds), race(&kinds));
    first.run(50).expect("finite");
    let bytes = first.save().expect("saved");
    second.load(&bytes).expect("the same kind of race");
    first.run(30).expect("finite");
    second.run(30).expect("finite");
    assert_eq!((policy(&mut first), first.step()), (policy(&mut second), second.step()));
    for wrong in [&bytes[..bytes.len() - 1], &[], &[0; 40]] {
        let before = policy(&mut second);
        assert!(second.load(wrong).expect_err("refused").to_string().contains("`bytes`"));
        assert_eq!(policy(&mut second), before);
    }
}

#[test]
fn the_past_is_shown_without_leaving_the_present() {
    let mut race = race(&[LaneKind::FlowRl]);
    race.run(20).expect("finite");
    let then = policy(&mut race);
    race.run(35).expect("finite");
    let now = policy(&mut race);
    assert_eq!(race.show(25.0).expect("a snapshot")[MEASURES.len()..][..256], then);
    assert_eq!((policy(&mut race), race.step()), (now, 55));
    assert_eq!(race.fork(25.0).expect("a snapshot"), 20);
    assert_eq!((policy(&mut race), race.snapshots()), (then, vec![0.0, 10.0, 20.0]));
}

#[test]
fn bad_input_is_refused_by_name() {
    let refused = |change: fn(&mut RaceOptions)| {
        let mut options = race(&[LaneKind::FlowRl]).options().clone();
        change(&mut options);
        let landscape = shared(Landscape::preset(LandscapeOptions::default()).expect("valid"));
        Race::new(landscape, options).expect_err("refused").to_string()
    };
    for (message, name) in [
        (refused(|o| o.lanes.clear()), "`lanes` is 0"),
        (refused(|o| o.beta = f64::NAN), "`beta` is NaN"),
        (refused(|o| o.samples = 0), "`samples` is 0"),
        (refused(|o| o.learning_rate = -1.0), "`learningRate` is -1"),
        (refused(|o| o.lanes[0].replay = 1.0), "`replay` is 1"),
        (LaneKind::parse("grop").expect_err("unknown").to_string(), "\"grop\", but must be one of flowrl"),
        (race(&[LaneKind::Grpo]).measure(0, "kull").expect_err("unknown").to_string(), "`name` is \"kull\""),
        (race(&[LaneKind::Grpo]).measure(1, "kl").expect_err("no lane").to_string(), "`lane` is 1"),
    ] {
        assert!(message.contains(name), "{message}");
    }
}
