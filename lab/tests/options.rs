//! The options of the lab's tasks in files, and the values drawn by their seeds.

use std::fmt::Debug;

use flowrl_lab::{
    Bandit, BanditOptions, BanditPreset, Bits, BitsOptions, Environment, HypergridOptions, LabKind, LabOptions,
    LandscapeOptions, LandscapePreset, Strings, StringsOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<O: Serialize + DeserializeOwned + Default + PartialEq + Debug>(text: &str) {
    let default = O::default();
    assert_eq!(serde_json::to_string(&default).expect("plain data"), text);
    assert_eq!(serde_json::from_str::<O>(text).expect("valid"), default);
    assert_eq!(serde_json::from_str::<O>("{}").expect("every option has a default"), default);
    let unknown = serde_json::from_str::<O>(r#"{"colour": 1}"#).expect_err("no such option").to_string();
    assert!(unknown.contains("unknown field `colour`"), "{unknown}");
}

#[test]
fn options_round_trip_and_unknown_ones_are_refused() {
    round_trip::<BanditOptions>(r#"{"preset":"two-peaks","size":64,"reference":"uniform","seed":0}"#);
    round_trip::<LandscapeOptions>(r#"{"preset":"four-peaks","side":16,"seed":0}"#);
    round_trip::<HypergridOptions>(r#"{"side":8,"dim":2,"reward":"easy"}"#);
    round_trip::<BitsOptions>(r#"{"bits":8,"word":1,"modes":4,"seed":0}"#);
    round_trip::<StringsOptions>(r#"{"length":5,"symbols":3,"modes":3,"seed":0}"#);
    for &preset in BanditPreset::ALL {
        let text = format!(r#"{{"preset":"{preset}"}}"#);
        assert_eq!(serde_json::from_str::<BanditOptions>(&text).expect("valid").preset, preset);
    }
    for &preset in LandscapePreset::ALL {
        let text = format!(r#"{{"preset":"{preset}"}}"#);
        assert_eq!(serde_json::from_str::<LandscapeOptions>(&text).expect("valid").preset, preset);
    }
}

#[test]
fn a_file_chooses_a_task_by_its_name() {
    for &kind in LabKind::ALL {
        let options: LabOptions = serde_json::from_str(&format!(r#"{{"kind":"{kind}"}}"#)).expect("a task");
        assert_eq!(options, LabOptions::of(kind));
        assert_eq!(options.open().expect("valid").kind(), kind);
        let text = serde_json::to_string(&options).expect("plain data");
        assert_eq!(serde_json::from_str::<LabOptions>(&text).expect("valid"), options);
        let unknown = serde_json::from_str::<LabOptions>(&format!(r#"{{"kind":"{kind}","colour":1}}"#));
        assert!(unknown.expect_err("no such option").to_string().contains("colour"), "{kind}");
    }
}

/// A change of these values changes every run of the lab, so it belongs in the changelog.
#[test]
fn what_seeds_draw_is_pinned() {
    let bits = Bits::from_options(BitsOptions::default()).expect("valid");
    assert_eq!(bits.modes(), [215, 57, 68, 157]);
    let strings = Strings::new(StringsOptions::default()).expect("valid");
    let bandit = |preset| Bandit::preset(BanditOptions { preset, ..BanditOptions::default() }).expect("valid");
    let (needle, random) = (bandit(BanditPreset::Needle), bandit(BanditPreset::Random));
    let drawn = (strings.modes(), (0..64).find(|&x| needle.is_mode(x)));
    assert_eq!(drawn, (&[3, 16, 180][..], Some(53)));
    assert_eq!([strings.log_reference(0, 0), random.reward(0)], [-1.819_028_700_638_008, 0.841_291_603_004_247_9]);
}
