//! Export of a lane as a configuration of `flowrl-cli train`.

use crate::error::Error;
use crate::lane::{LaneKind, LaneOptions, RaceOptions};

/// Returns a configuration for `flowrl-cli train --config` that trains a lane from the start for `steps` steps. It uses
/// the reference arithmetic, so the result has the same bits. `section` is the content of `[task]`.
///
/// # Errors
/// Returns an error if there is no such lane, or if it uses replay, because the command line has none.
pub fn of(options: &RaceOptions, lane: usize, steps: u32, section: &str) -> Result<String, Error> {
    let found = options.lanes.get(lane);
    let wrong = Error::Option { option: "lane", got: lane as f64, wanted: "the number of a lane, from 0" };
    let LaneOptions { kind, exploration, replay } = *found.ok_or(wrong)?;
    if replay > 0.0 {
        return Err(Error::Option { option: "replay", got: replay, wanted: "0: the command line has no replay" });
    }
    let beta = options.beta;
    let balance = |log_z| format!("preset = \"exact-tb\"\nbeta = {beta:?}\nlog_z = {log_z}");
    let objective = match kind {
        LaneKind::FlowRl => balance("\"scalar\""),
        LaneKind::VarGrad => balance("\"group-mean\""),
        LaneKind::Normalised => balance("\"scalar\"\nlength = \"mean\""),
        LaneKind::Published => balance("\"scalar\"\nlength = \"mean\"\nreward = \"group\""),
        LaneKind::Grpo | LaneKind::Ppo | LaneKind::Reinforce => format!("preset = \"{}\"", kind.name()),
        LaneKind::RewardKl => format!("preset = \"reinforce\"\nkl = {:?}\nkl_in = \"reward\"", kind.kl(beta)),
    };
    let policy = match options.network {
        Some(mlp) => format!("kind = \"mlp\"\nwidth = {}\nlayers = {}", mlp.width, mlp.layers),
        None => "kind = \"tabular\"".to_owned(),
    };
    let RaceOptions { seed, samples, learning_rate, log_z_learning_rate, record_every, .. } = options;
    let (name, epochs) = (kind.name(), kind.epochs());
    Ok(format!(
        "# Lane {name} of the browser lab: flowrl-cli train --config FILE\n\n\
         [task]\n{section}\n\n\
         [policy]\n{policy}\nexploration = {exploration:?}\n\n\
         [objective]\n{objective}\n\n\
         [train]\nsteps = {steps}\nbatch = {samples}\nepochs = {epochs}\nseed = {seed}\narithmetic = \"reference\"\n\n\
         [optimizer]\nlearning_rate = {learning_rate:?}\nwarmup = 0\ndecay = \"constant\"\nclip_norm = 0.0\n\n\
         [log_z]\nlearning_rate = {log_z_learning_rate:?}\n\n\
         [eval]\nevery = {record_every}\ntarget_beta = {beta:?}\n"
    ))
}
