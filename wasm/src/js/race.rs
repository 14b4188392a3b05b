//! Bindings of races.

use flowrl_lab::MlpOptions;
use wasm_bindgen::prelude::{JsCast as _, JsError, JsValue, wasm_bindgen};

use super::task::{JsHypergrid, JsLandscape, JsTree, Task};
use crate::{Explanation, LaneKind, LaneOptions, Race, RaceOptions, config};

#[wasm_bindgen]
impl RaceOptions {
    /// Creates settings with the defaults.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a policy with this objective. `exploration` is the share of its actions drawn uniformly, and `replay` is
    /// the share of its batch drawn from the best answers seen so far.
    ///
    /// # Errors
    /// Throws if the kind is unknown.
    #[wasm_bindgen(js_name = addLane)]
    pub fn add_lane(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "LaneKind")] kind: &str,
        exploration: f64,
        replay: f64,
    ) -> Result<(), JsError> {
        let kind = LaneKind::parse(kind)?;
        self.lanes.push(LaneOptions { kind, exploration, replay });
        Ok(())
    }

    /// Makes the policies multilayer perceptrons of this shape instead of tables.
    pub fn network(&mut self, width: usize, layers: usize) {
        self.network = Some(MlpOptions { width, layers });
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
    fn start(task: &impl Task, options: &RaceOptions) -> Result<Self, JsError> {
        Ok(Self { inner: Race::new(task.shared(), options.clone())?, section: task.section() })
    }
}

// `js-sys` has these bindings too, but it also brings the bindings of promises.
#[wasm_bindgen]
extern "C" {
    /// A typed array in JavaScript, for a view into the memory of the module.
    #[wasm_bindgen(typescript_type = "Float32Array")]
    #[derive(Debug)]
    pub type Float32Array;
    #[wasm_bindgen(constructor)]
    fn new(buffer: &JsValue, offset: usize, length: usize) -> Float32Array;

    type Memory;
    #[wasm_bindgen(method, getter)]
    fn buffer(this: &Memory) -> JsValue;
}

/// Returns a view of numbers in the memory of the module. The public methods document that it must be read before the
/// next call, which may move the numbers or grow the memory. JavaScript that keeps the view longer reads stale numbers
/// or an empty array, but cannot do any other harm.
fn view(numbers: &[f32]) -> Float32Array {
    let memory: Memory = wasm_bindgen::memory().unchecked_into();
    Float32Array::new(&memory.buffer(), numbers.as_ptr() as usize, numbers.len())
}

#[wasm_bindgen(js_class = Race)]
impl JsRace {
    /// Creates a race on a landscape.
    ///
    /// # Errors
    /// Throws if there is no lane or more than six, or if an option is out of range.
    #[wasm_bindgen(js_name = onLandscape)]
    pub fn on_landscape(landscape: &JsLandscape, options: &RaceOptions) -> Result<Self, JsError> {
        Self::start(landscape, options)
    }

    /// Creates a race on a token tree.
    ///
    /// # Errors
    /// Throws if there is no lane or more than six, or if an option is out of range.
    #[wasm_bindgen(js_name = onTree)]
    pub fn on_tree(tree: &JsTree, options: &RaceOptions) -> Result<Self, JsError> {
        Self::start(tree, options)
    }

    /// Creates a race on a hypergrid. Objects can be reached in several ways there, so there is no reference policy,
    /// and the KL weight of every policy gradient is set to 0.
    ///
    /// # Errors
    /// Throws if there is no lane or more than six, or if an option is out of range.
    #[wasm_bindgen(js_name = onHypergrid)]
    pub fn on_hypergrid(grid: &JsHypergrid, options: &RaceOptions) -> Result<Self, JsError> {
        Self::start(grid, options)
    }

    /// Number of policies.
    #[wasm_bindgen(getter)]
    pub fn lanes(&self) -> usize {
        self.inner.options().lanes.len()
    }

    /// Number of possible answers.
    #[wasm_bindgen(getter)]
    pub fn objects(&self) -> usize {
        self.inner.environment().objects()
    }

    /// Number of steps so far.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> f64 {
        self.inner.step() as f64
    }

    /// Present value of β.
    #[wasm_bindgen(getter)]
    pub fn beta(&self) -> f64 {
        self.inner.options().beta
    }

    /// Trains every lane for some steps.
    ///
    /// # Errors
    /// Throws if a number is no longer finite, for example because the learning rate is too large.
    pub fn run(&mut self, steps: u32) -> Result<(), JsError> {
        Ok(self.inner.run(steps)?)
    }

    /// Changes β and thus the target. The policies keep what they have learned.
    ///
    /// # Errors
    /// Throws if β is out of range.
    #[wasm_bindgen(js_name = setBeta)]
    pub fn set_beta(&mut self, beta: f64) -> Result<(), JsError> {
        Ok(self.inner.set_beta(beta)?)
    }

    /// Changes the learning rate of the policies.
    ///
    /// # Errors
    /// Throws if the rate is out of range.
    #[wasm_bindgen(js_name = setLearningRate)]
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), JsError> {
        Ok(self.inner.set_learning_rate(rate)?)
    }

    /// Changes the rewards and the reference. The policies keep what they have learned.
    ///
    /// # Errors
    /// Throws if the landscape has another side.
    #[wasm_bindgen(js_name = setLandscape)]
    pub fn set_landscape(&mut self, landscape: &JsLandscape) -> Result<(), JsError> {
        self.inner.set_environment(landscape.shared())?;
        self.section = landscape.section();
        Ok(())
    }

    /// Returns a frame, which holds for each lane its measures (see `measures()`), its probabilities of the answers,
    /// and the answers of its last step. The frame is a **view** into the memory of the module: read or copy it before
    /// the next call.
    ///
    /// # Errors
    /// Throws if a number is no longer finite.
    pub fn frame(&mut self) -> Result<Float32Array, JsError> {
        Ok(view(self.inner.frame()?))
    }

    /// Returns a measure of a lane by its name (see `measures()`), computed exactly for the present policy.
    ///
    /// # Errors
    /// Throws if there is no such lane or no measure of this name.
    pub fn measure(&mut self, lane: usize, name: &str) -> Result<f64, JsError> {
        Ok(self.inner.measure(lane, name)?)
    }

    /// Number of values in a record: the step, then the measures of every lane.
    #[wasm_bindgen(getter, js_name = recordLength)]
    pub fn record_length(&self) -> usize {
        self.inner.row()
    }

    /// Returns the records from index `from` on, with `recordLength` values each. If there are more than 2048 records,
    /// every second one is dropped.
    pub fn records(&self, from: usize) -> Vec<f64> {
        self.inner.records().get(from.saturating_mul(self.inner.row())..).unwrap_or_default().to_vec()
    }

    /// Number of records so far.
    #[wasm_bindgen(getter, js_name = recordCount)]
    pub fn record_count(&self) -> usize {
        self.inner.records().len() / self.inner.row()
    }

    /// Returns the steps that `show` and `fork` can go back to.
    #[wasm_bindgen(js_name = snapshotSteps)]
    pub fn snapshot_steps(&self) -> Vec<f64> {
        self.inner.snapshots()
    }

    /// Returns the frame of the last snapshot at or before `step`, measured against the present target. Like that of
    /// `frame`, the result is a view.
    ///
    /// # Errors
    /// Throws if `step` is before the first snapshot.
    pub fn show(&mut self, step: f64) -> Result<Float32Array, JsError> {
        Ok(view(self.inner.show(step)?))
    }

    /// Goes back to the last snapshot at or before `step`, drops all later records and snapshots, and returns its step.
    ///
    /// # Errors
    /// Throws if `step` is before the first snapshot.
    pub fn fork(&mut self, step: f64) -> Result<f64, JsError> {
        Ok(self.inner.fork(step)? as f64)
    }

    /// Saves the learned state as bytes, for `load` in another instance.
    ///
    /// # Errors
    /// Throws if there is no memory left.
    pub fn save(&self) -> Result<Vec<u8>, JsError> {
        Ok(self.inner.save()?)
    }

    /// Restores the state that a race with the same task and options saved.
    ///
    /// # Errors
    /// Throws if the bytes are from another kind of race.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), JsError> {
        Ok(self.inner.load(bytes)?)
    }

    /// Explains the next update of a lane, or the one that followed after `step` steps. This does not change the race.
    ///
    /// # Errors
    /// Throws if there is no such lane or if `step` is before the first snapshot.
    pub fn explain(&mut self, lane: usize, step: Option<f64>) -> Result<Explanation, JsError> {
        Ok(self.inner.explain(lane, step)?)
    }

    /// Returns the records as comma-separated values with a line for every step and lane.
    pub fn csv(&self) -> String {
        self.inner.csv()
    }

    /// Returns a configuration for `flowrl-cli train --config` that trains a lane from the start for `steps` steps. It
    /// has the present settings and gives the same bits.
    ///
    /// # Errors
    /// Throws if there is no such lane, or if it uses replay.
    pub fn config(&self, lane: usize, steps: u32) -> Result<String, JsError> {
        Ok(config::of(self.inner.options(), lane, steps, &self.section)?)
    }
}
