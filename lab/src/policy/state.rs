//! Access to the tables of a policy and to the numbers of a checkpoint.

use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::parameter::{self, NamedState};

use super::memo::Rows;
use super::{LabPolicy, Network, PolicyError};
use crate::Environment;

/// The tables fail if the environment breaks its contract.
impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    /// Returns log P_F of every state and action, (states, A), at temperature 1. Illegal actions have −∞ in this table.
    pub fn log_pf_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_forward)
    }

    /// Returns log P_B of every state and parent, (states, parents). Missing parents have −∞ in this table.
    pub fn log_pb_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_backward)
    }

    /// Returns log F of every state, (states); empty if no flows are learned.
    pub fn log_flow_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_flow)
    }

    /// Evaluates all states in chunks, without the memo, so that the memory used stays small.
    fn table_of(&mut self, column: impl Fn(&Rows<T>) -> &Vec<T>) -> Result<Vec<T>, PolicyError> {
        const CHUNK: usize = 2048;
        let states = self.environment.states();
        let (_, evaluator) = self.parts();
        let (mut rows, mut logits, mut out) = (Rows::default(), Vec::new(), Vec::new());
        for start in (0..states).step_by(CHUNK) {
            rows.states.clear();
            rows.states.extend(start as u32..(start + CHUNK).min(states) as u32);
            rows.evaluate(&evaluator, 1.0, &mut logits)?;
            out.extend_from_slice(column(&rows));
        }
        Ok(out)
    }

    /// Returns every number that a checkpoint needs, by name.
    pub fn state(&self) -> Result<NamedState<T>, PolicyError> {
        Ok(parameter::state(&self.backend, self.parameters())?)
    }

    /// Restores the numbers of [`LabPolicy::state`]. `get` returns the values of a name. If one is missing, no weight
    /// changes.
    ///
    /// # Errors
    /// Returns [`PolicyError::State`] if a name is missing or has the wrong number of values.
    pub fn restore(&mut self, get: impl FnMut(&str) -> Option<Vec<T>>) -> Result<(), PolicyError> {
        self.forget();
        let restored = parameter::restore(&self.backend, self.network.parameters_mut(), get)?;
        restored.map_err(|(name, wanted)| PolicyError::State { name, wanted })
    }
}
