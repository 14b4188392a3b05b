//! Metrics of named sets of prompts: `eval_NAME_success` is `eval_success`, measured on the set NAME.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flowrl_core::metrics::{self, Chart, Metric, Target};

/// The prefix of metrics of evaluations on prompts.
const PREFIX: &str = "eval_";

/// Checks the name of a set of prompts, which becomes a part of metrics' names.
///
/// # Errors
/// Returns a message with the name and the characters that it may have.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "the name of a set of prompts is {name:?}, but must be 1 to 64 of the characters A–Z, a–z, 0–9, _ and -"
    ))
}

/// Returns the name under which a metric of evaluations is recorded for a set of prompts.
pub(crate) fn in_set(set: Option<&str>, metric: &str) -> String {
    match (set, metric.strip_prefix(PREFIX)) {
        (Some(set), Some(rest)) => format!("{PREFIX}{set}_{rest}"),
        _ => metric.to_owned(),
    }
}

/// Returns the set of a recorded metric and the row of the table that describes it, or `None` for a metric without a
/// set. No name can be split in two ways, because no row's name ends with that of another.
pub(crate) fn split(name: &str) -> Option<(&str, &'static Metric)> {
    let recorded = name.strip_prefix(PREFIX).filter(|_| metrics::get(name).is_none())?;
    metrics::all().find_map(|metric| {
        let set = recorded.strip_suffix(metric.name.strip_prefix(PREFIX)?)?.strip_suffix('_')?;
        check_name(set).ok().map(|()| (set, metric))
    })
}

/// Returns the description of a recorded metric, from the table of metrics. That of a named set has the set's name in
/// its own name and label, and refers to metrics of the same set.
///
/// ```
/// let metric = flowrl_cli::metrics::get("eval_math500_success").unwrap();
/// assert_eq!((metric.label, metric.unit), ("Success, sampled (math500)", "fraction"));
/// assert_eq!(metric.target_metric(), Some("eval_math500_success_target"));
/// ```
pub fn get(name: &str) -> Option<&'static Metric> {
    metrics::get(name).or_else(|| split(name).map(|(set, base)| of_set(set, base)))
}

/// Returns the description of a metric on a named set. Each is made once and kept for good, as those of the table are.
fn of_set(set: &str, base: &'static Metric) -> &'static Metric {
    static KNOWN: Mutex<BTreeMap<String, &'static Metric>> = Mutex::new(BTreeMap::new());
    let keep = |text: String| -> &'static str { text.leak() };
    let name = in_set(Some(set), base.name);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(name).or_insert_with_key(|name| {
        let own = |metric: &str| keep(in_set(Some(set), metric));
        let mut metric = *base;
        metric.name = keep(name.clone());
        metric.label = keep(format!("{} ({set})", base.label));
        metric.target = base.target.map(|target| match target {
            Target::Metric(name) => Target::Metric(own(name)),
            Target::Zero => Target::Zero,
        });
        metric.chart = match base.chart {
            Chart::On(host) => Chart::On(own(host)),
            Chart::Spread(host) => Chart::Spread(own(host)),
            Chart::Low(host) => Chart::Low(own(host)),
            Chart::High(host) => Chart::High(own(host)),
            own @ (Chart::Own | Chart::Hidden) => own,
        };
        Box::leak(Box::new(metric))
    })
}

/// Returns the named sets that metrics of these names belong to, in order and without duplicates.
pub(crate) fn sets<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (set, _) in names.into_iter().filter_map(split) {
        if !found.contains(&set) {
            found.push(set);
        }
    }
    found
}

/// Returns the metrics of evaluations on a named set, in the order of the table.
pub(crate) fn rows(set: &str) -> impl Iterator<Item = &'static Metric> {
    metrics::all().filter(|metric| metric.name.starts_with(PREFIX)).map(move |base| of_set(set, base))
}

/// Returns every metric of the table, followed by those of the named sets among `names`.
pub(crate) fn all_with<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'static Metric> {
    metrics::all().chain(sets(names).into_iter().flat_map(rows)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_ends_with_the_name_of_another() {
        let rests = || metrics::all().filter_map(|metric| metric.name.strip_prefix(PREFIX));
        for (a, b) in rests().flat_map(|a| rests().map(move |b| (a, b))) {
            assert!(!a.ends_with(&format!("_{b}")), "eval_{a} would be eval_{b} of a set");
        }
    }

    #[test]
    fn names_of_sets_come_back() {
        for set in ["a", "math500", "math_500", "gsm8k-1", "success", "a_success", "log_z", "pass_at_8", "A"] {
            for base in metrics::all().filter(|metric| metric.name.starts_with(PREFIX)) {
                let name = in_set(Some(set), base.name);
                assert_eq!(split(&name).map(|(set, base)| (set, base.name)), Some((set, base.name)), "{name}");
                let found = get(&name).unwrap();
                assert_eq!((found.name, found.unit, found.better), (&*name, base.unit, base.better));
                assert!(std::ptr::eq(found, get(&name).unwrap()), "{name} is made once");
            }
        }
        for name in ["eval_success", "eval__success", "eval_a b_success", "eval_<b>_success", "loss", "eval_a_loss"] {
            assert_eq!(split(name).map(|(set, _)| set), None, "{name}");
        }
    }

    #[test]
    fn metrics_of_a_set_refer_to_that_set() {
        let all = all_with(["step", "eval_b_success", "eval_a_success", "eval_b_entropy"]);
        assert_eq!(all[metrics::all().count()].name, "eval_b_success_exact");
        for (i, metric) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other.name != metric.name && other.label != metric.label));
            let host = match metric.chart {
                Chart::On(host) | Chart::Spread(host) | Chart::Low(host) | Chart::High(host) => Some(host),
                Chart::Own | Chart::Hidden => None,
            };
            for name in host.into_iter().chain(metric.target_metric()) {
                let other = all.iter().find(|other| other.name == name);
                assert!(other.is_some_and(|o| split(o.name).map(|s| s.0) == split(metric.name).map(|s| s.0)), "{name}");
            }
        }
    }
}
