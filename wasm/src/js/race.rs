//! Races.

use flowrl_core::lab::MlpOptions;
use wasm_bindgen::prelude::{JsCast as _, JsError, JsValue, wasm_bindgen};

use super::inside::JsExplanation;
use super::task::{JsHypergrid, JsLandscape, JsTree, Task};
use crate::{LaneKind, LaneOptions, Race, RaceOptions, config};

/// The settings of a race. New ones have the defaults of the page and no lane.
#[wasm_bindgen(js_name = RaceOptions)]
#[derive(Clone, Debug, Default)]
pub struct JsRaceOptions {
    inner: RaceOptions,
}

#[wasm_bindgen(js_class = RaceOptions)]
impl JsRaceOptions {
    /// The defaults.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Seed of everything random; all lanes draw with the same numbers.
    #[wasm_bindgen(getter)]
    pub fn seed(&self) -> u32 {
        self.inner.seed
    }
    #[wasm_bindgen(setter)]
    #[doc(hidden)]
    pub fn set_seed(&mut self, seed: u32) {
        self.inner.seed = seed;
    }

    /// Answers of a step. Default 64.
    #[wasm_bindgen(getter)]
    pub fn samples(&self) -> usize {
        self.inner.samples
    }
    #[wasm_bindgen(setter)]
    #[doc(hidden)]
    pub fn set_samples(&mut self, samples: usize) {
        self.inner.samples = samples;
    }

    /// AdamW's learning rate of the policies. Default 0.02.
    #[wasm_bindgen(getter, js_name = learningRate)]
    pub fn learning_rate(&self) -> f64 {
        self.inner.learning_rate
    }
    #[wasm_bindgen(setter, js_name = learningRate)]
    #[doc(hidden)]
    pub fn set_learning_rate(&mut self, rate: f64) {
        self.inner.learning_rate = rate;
    }

    /// AdamW's learning rate of log Z. Default 0.05.
    #[wasm_bindgen(getter, js_name = logZLearningRate)]
    pub fn log_z_learning_rate(&self) -> f64 {
        self.inner.log_z_learning_rate
    }
    #[wasm_bindgen(setter, js_name = logZLearningRate)]
    #[doc(hidden)]
    pub fn set_log_z_learning_rate(&mut self, rate: f64) {
        self.inner.log_z_learning_rate = rate;
    }

    /// β. Default 6.
    #[wasm_bindgen(getter)]
    pub fn beta(&self) -> f64 {
        self.inner.beta
    }
    #[wasm_bindgen(setter)]
    #[doc(hidden)]
    pub fn set_beta(&mut self, beta: f64) {
        self.inner.beta = beta;
    }

    /// Steps between two records at first. Default 10.
    #[wasm_bindgen(getter, js_name = recordEvery)]
    pub fn record_every(&self) -> u32 {
        self.inner.record_every
    }
    #[wasm_bindgen(setter, js_name = recordEvery)]
    #[doc(hidden)]
    pub fn set_record_every(&mut self, steps: u32) {
        self.inner.record_every = steps;
    }

    /// Adds a policy: what it optimises; the share of its actions drawn uniformly; the share of its batch drawn from the best answers seen so far.
    ///
    /// # Errors
    /// An unknown kind.
    #[wasm_bindgen(js_name = addLane)]
    pub fn add_lane(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "LaneKind")] kind: &str,
        exploration: f64,
        replay: f64,
    ) -> Result<(), JsError> {
        let kind = LaneKind::parse(kind)?;
        self.inner.lanes.push(LaneOptions { kind, exploration, replay });
        Ok(())
    }

    /// Makes the policies multilayer perceptrons of this shape instead of tables.
    pub fn network(&mut self, width: usize, layers: usize) {
        self.inner.network = Some(MlpOptions { width, layers });
    }
}

/// Up to six policies that learn the same task with the same random numbers, a step at a time.
#[wasm_bindgen(js_name = Race)]
#[derive(Debug)]
pub struct JsRace {
    inner: Race,
    section: String,
}

impl JsRace {
    fn start(task: &impl Task, options: &JsRaceOptions) -> Result<Self, JsError> {
        Ok(Self { inner: Race::new(task.shared(), options.inner.clone())?, section: task.section() })
    }
}

// What `js-sys` has too, which brings the bindings of promises along.
#[wasm_bindgen]
extern "C" {
    /// The type of a view.
    #[wasm_bindgen(typescript_type = "Float32Array")]
    #[derive(Debug)]
    pub type Float32Array;
    #[wasm_bindgen(constructor)]
    fn new(buffer: &JsValue, offset: usize, length: usize) -> Float32Array;

    type Memory;
    #[wasm_bindgen(method, getter)]
    fn buffer(this: &Memory) -> JsValue;
}

/// A view of numbers where they lie. It is documented to be read before the next call, which may move them or grow the memory; JavaScript that keeps it
/// longer reads stale numbers or an empty array, nothing else.
fn view(numbers: &[f32]) -> Float32Array {
    let memory: Memory = wasm_bindgen::memory().unchecked_into();
    Float32Array::new(&memory.buffer(), numbers.as_ptr() as usize, numbers.len())
}

#[wasm_bindgen(js_class = Race)]
impl JsRace {
    /// A race on a landscape.
    ///
    /// # Errors
    /// No lane or more than six; an option out of range.
    #[wasm_bindgen(js_name = onLandscape)]
    pub fn on_landscape(landscape: &JsLandscape, options: &JsRaceOptions) -> Result<Self, JsError> {
        Self::start(landscape, options)
    }

    /// A race on a token tree.
    ///
    /// # Errors
    /// No lane or more than six; an option out of range.
    #[wasm_bindgen(js_name = onTree)]
    pub fn on_tree(tree: &JsTree, options: &JsRaceOptions) -> Result<Self, JsError> {
        Self::start(tree, options)
    }

    /// A race on a hypergrid, where objects have no reference policy: lanes that need one are refused.
    ///
    /// # Errors
    /// No lane or more than six; an option out of range.
    #[wasm_bindgen(js_name = onHypergrid)]
    pub fn on_hypergrid(grid: &JsHypergrid, options: &JsRaceOptions) -> Result<Self, JsError> {
        Self::start(grid, options)
    }

    /// Policies.
    #[wasm_bindgen(getter)]
    pub fn lanes(&self) -> usize {
        self.inner.options().lanes.len()
    }

    /// Answers that a policy spreads over.
    #[wasm_bindgen(getter)]
    pub fn objects(&self) -> usize {
        self.inner.environment().objects()
    }

    /// Steps done.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> f64 {
        self.inner.step() as f64
    }

    /// β as it is now.
    #[wasm_bindgen(getter)]
    pub fn beta(&self) -> f64 {
        self.inner.options().beta
    }

    /// Takes some steps, every lane in each of them.
    ///
    /// # Errors
    /// Numbers that are no longer finite, e.g. under a learning rate that is too large.
    pub fn run(&mut self, steps: u32) -> Result<(), JsError> {
        Ok(self.inner.run(steps)?)
    }

    /// Moves the target; the policies go on from what they have learned.
    ///
    /// # Errors
    /// β out of range.
    #[wasm_bindgen(js_name = setBeta)]
    pub fn set_beta(&mut self, beta: f64) -> Result<(), JsError> {
        Ok(self.inner.set_beta(beta)?)
    }

    /// Moves the learning rate of the policies.
    ///
    /// # Errors
    /// A rate out of range.
    #[wasm_bindgen(js_name = setLearningRate)]
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), JsError> {
        Ok(self.inner.set_learning_rate(rate)?)
    }

    /// Moves rewards and reference; the policies go on from what they have learned.
    ///
    /// # Errors
    /// A landscape of another side.
    #[wasm_bindgen(js_name = setLandscape)]
    pub fn set_landscape(&mut self, landscape: &JsLandscape) -> Result<(), JsError> {
        self.inner.set_environment(landscape.shared())?;
        self.section = landscape.section();
        Ok(())
    }

    /// Of each lane its measures (see `measures()`), its probabilities of the answers, and the answers of its last step: a **view** into the memory of the
    /// module, to be read or copied before the next call.
    ///
    /// # Errors
    /// Numbers that are no longer finite.
    pub fn frame(&mut self) -> Result<Float32Array, JsError> {
        Ok(view(self.inner.frame()?))
    }

    /// A measure of a lane by name, see `measures()`; exact, of the policy as it is.
    ///
    /// # Errors
    /// A lane that is not there, a name that no measure has.
    pub fn measure(&mut self, lane: usize, name: &str) -> Result<f64, JsError> {
        Ok(self.inner.measure(lane, name)?)
    }

    /// Numbers of a record: the step, then the measures of every lane.
    #[wasm_bindgen(getter, js_name = recordLength)]
    pub fn record_length(&self) -> usize {
        self.inner.row()
    }

    /// The records from number `from` on, `recordLength` numbers each. When there are more than 2048, every second one goes.
    pub fn records(&self, from: usize) -> Vec<f64> {
        self.inner.records().get(from.saturating_mul(self.inner.row())..).unwrap_or_default().to_vec()
    }

    /// Records so far.
    #[wasm_bindgen(getter, js_name = recordCount)]
    pub fn record_count(&self) -> usize {
        self.inner.records().len() / self.inner.row()
    }

    /// The steps that `show` and `fork` can go back to.
    #[wasm_bindgen(js_name = snapshotSteps)]
    pub fn snapshot_steps(&self) -> Vec<f64> {
        self.inner.snapshots()
    }

    /// A frame of the past: of the last snapshot up to `step`, measured against the target of now. A view, as `frame`.
    ///
    /// # Errors
    /// A step below 0.
    pub fn show(&mut self, step: f64) -> Result<Float32Array, JsError> {
        Ok(view(self.inner.show(step)?))
    }

    /// Goes back to the last snapshot up to `step`, forgets what came after it, and gives its step.
    ///
    /// # Errors
    /// A step below 0.
    pub fn fork(&mut self, step: f64) -> Result<f64, JsError> {
        Ok(self.inner.fork(step)? as f64)
    }

    /// Everything learned, for `load` in another instance.
    ///
    /// # Errors
    /// Where there is no memory left.
    pub fn save(&self) -> Result<Vec<u8>, JsError> {
        Ok(self.inner.save()?)
    }

    /// Goes on from what a race with the same task and options saved.
    ///
    /// # Errors
    /// Bytes of another race.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), JsError> {
        Ok(self.inner.load(bytes)?)
    }

    /// What the next update of a lane will do, or what the one after `step` steps did; the race stays where it is.
    ///
    /// # Errors
    /// A lane that is not there, or a step below 0.
    pub fn explain(&mut self, lane: usize, step: Option<f64>) -> Result<JsExplanation, JsError> {
        Ok(JsExplanation { inner: self.inner.explain(lane, step)? })
    }

    /// The records as comma-separated values, a line for every step and lane.
    pub fn csv(&self) -> String {
        self.inner.csv()
    }

    /// A file for `flowrl-cli train --config` that runs a lane from the start with the settings of now, to the same bits, for `steps`.
    ///
    /// # Errors
    /// A lane that is not there, or that replays.
    pub fn config(&self, lane: usize, steps: u32) -> Result<String, JsError> {
        Ok(config::of(self.inner.options(), lane, steps, &self.section)?)
    }
}
