//! The transformer as a [`Policy`]: one set of weights samples, scores and trains.

use std::sync::Arc;

use flowrl_core::Real;
use flowrl_core::backend::{BackendError, Role, token_mask};
use flowrl_core::optim::AdamWStep;
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, ScoresOf, Sequences};

use crate::backend::TransformerBackend;
use crate::error::{Interrupted, PolicyError, PolicyResult};
use crate::generate::{self, Limits};
use crate::model::{Dimensions, Keep, Packed, Part, Transformer, Weights};

/// AdamW's first and second moments of one tensor.
pub type Moments<T> = [Vec<T>; 2];

/// Gradients and AdamW's moments, allocated when training starts.
#[derive(Debug)]
struct Training<T> {
    grads: Weights<T>,
    first_moments: Weights<T>,
    second_moments: Weights<T>,
}

/// A transformer with its weights, its frozen reference and, once it is trained, its optimiser state.
///
/// Policy and reference share their tensors until the first update. Every function that returns a `Result`
/// returns an error if the device fails or has not enough memory.
#[derive(Debug)]
pub struct TransformerPolicy<B: TransformerBackend> {
    model: Transformer<B>,
    weights: Arc<Weights<B::Buffer>>,
    reference: Option<Arc<Weights<B::Buffer>>>,
    training: Option<Training<B::Buffer>>,
    /// The limits of sampling.
    pub limits: Limits<B::Index>,
    keep: Keep,
    last: Option<(Packed, f64)>,
}

/// The reason why there is a training state.
const STARTED: &str = "`start_training` made it";

impl<B: TransformerBackend> TransformerPolicy<B> {
    /// Creates a policy from weights. Each of the tokens `end` ends a completion.
    pub fn new(backend: B, dims: Dimensions, weights: Weights<B::Buffer>, end: Vec<u32>) -> PolicyResult<Self, B> {
        let weights = Arc::new(weights);
        let reference = Some(Arc::clone(&weights));
        let model = Transformer::new(backend, dims)?;
        let limits = Limits { end, rule: None, wave: 0, excluded: None, listener: None, interrupt: None };
        Ok(Self { model, weights, reference, training: None, limits, keep: Keep::Everything, last: None })
    }

    /// Excludes these tokens from sampling, see [`Backend::sample`](flowrl_core::backend::Backend::sample). Scores
    /// remain those of the softmax over the whole row.
    pub fn exclude(&mut self, tokens: &[u32]) -> PolicyResult<(), B> {
        let mask = token_mask(tokens, self.model.dims().vocab);
        self.limits.excluded = if tokens.is_empty() { None } else { Some(self.backend().index(&mask)?) };
        Ok(())
    }

    /// Drops the reference, for an objective that does not need it.
    pub fn drop_reference(&mut self) {
        self.reference = None;
    }

    /// Sets whether the backward pass recomputes the activations of a layer. This needs less memory and a third
    /// more time than keeping them.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.keep = if recompute { Keep::Inputs } else { Keep::Everything };
    }

    /// Returns the dimensions and flags of this policy's model.
    pub const fn dims(&self) -> &Dimensions {
        self.model.dims()
    }

    /// Returns the weights of this policy.
    pub fn weights(&self) -> &Weights<B::Buffer> {
        &self.weights
    }

    /// Returns the gradient accumulated since the last update, or [`None`] before training starts.
    pub fn grads(&self) -> Option<&Weights<B::Buffer>> {
        self.training.as_ref().map(|t| &t.grads)
    }

    /// Returns whether every weight, and the sum of squares of every tensor, is finite.
    pub fn is_finite(&self) -> PolicyResult<bool, B> {
        let backend = self.model.backend();
        for tensor in self.weights.tensors() {
            if !backend.sum_squares(tensor, backend.len(tensor))?.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies a part of tensors that have this model's shapes to the host.
    ///
    /// # Panics
    /// If the part is not one of this model's.
    pub fn read_part(&self, tensors: &Weights<B::Buffer>, part: &Part) -> PolicyResult<Vec<B::Real>, B> {
        let tensor = tensors.tensors().nth(part.tensor).expect("parts are those of this model's tensors");
        self.read(tensor, part.offset, part.elements())
    }

    /// Returns both moments of the optimiser, tensor by tensor; empty before training starts.
    pub fn moments(&self) -> PolicyResult<Vec<Moments<B::Real>>, B> {
        let Some(training) = &self.training else { return Ok(Vec::new()) };
        let read = |buffer: &B::Buffer| self.read(buffer, 0, self.backend().len(buffer));
        let pairs = training.first_moments.tensors().zip(training.second_moments.tensors());
        pairs.map(|(m, v)| Ok([read(m)?, read(v)?])).collect()
    }

    fn read(&self, buffer: &B::Buffer, offset: usize, len: usize) -> PolicyResult<Vec<B::Real>, B> {
        let mut out = vec![B::Real::of(0.0); len];
        self.backend().read(buffer, offset, &mut out)?;
        Ok(out)
    }

    /// Restores the moments that [`TransformerPolicy::moments`] returned.
    ///
    /// # Errors
    /// Returns [`PolicyError::Length`] if the moments are those of another model.
    pub fn restore_moments(&mut self, moments: &[Moments<B::Real>]) -> PolicyResult<(), B> {
        if moments.is_empty() {
            return Ok(());
        }
        self.check_lens("moments", moments.iter().map(|[first, _]| first.len()))?;
        self.check_lens("moments", moments.iter().map(|[_, second]| second.len()))?;
        self.start_training()?;
        let backend = self.model.backend();
        let training = self.training.as_mut().expect(STARTED);
        let pairs = training.first_moments.tensors_mut().zip(training.second_moments.tensors_mut());
        for ((m, v), [first, second]) in pairs.zip(moments) {
            backend.write(m, 0, first)?;
            backend.write(v, 0, second)?;
        }
        Ok(())
    }

    /// Replaces the weights of the policy, but not those of the reference.
    ///
    /// # Errors
    /// Returns [`PolicyError::Length`] if the weights are those of another model.
    pub fn set_weights(&mut self, weights: Weights<B::Buffer>) -> PolicyResult<(), B> {
        self.check_lens("weights", weights.tensors().map(|tensor| self.backend().len(tensor)))?;
        self.part_from_reference()?;
        self.weights = Arc::new(weights);
        Ok(())
    }

    /// Replaces the weights of the reference, but not those of the policy.
    ///
    /// # Errors
    /// Returns [`PolicyError::Length`] if the weights are those of another model.
    pub fn set_reference(&mut self, weights: Weights<B::Buffer>) -> PolicyResult<(), B> {
        self.check_lens("reference", weights.tensors().map(|tensor| self.backend().len(tensor)))?;
        self.reference = Some(Arc::new(weights));
        Ok(())
    }

    /// Checks that the tensors of an argument have the number and the lengths of this model's.
    fn check_lens(&self, argument: &'static str, lens: impl Iterator<Item = usize>) -> PolicyResult<(), B> {
        let own: Vec<usize> = self.weights.tensors().map(|tensor| self.backend().len(tensor)).collect();
        let lens: Vec<usize> = lens.collect();
        check_len(argument, lens.len(), own.len())?;
        lens.into_iter().zip(own).try_for_each(|(got, wanted)| check_len(argument, got, wanted))
    }

    /// Copies the weights for the reference if it shares the policy's tensors. The copy has the role of an
    /// activation, the type that products read, because the reference is never trained.
    fn part_from_reference(&mut self) -> PolicyResult<(), B> {
        if !self.reference.as_ref().is_some_and(|reference| Arc::ptr_eq(reference, &self.weights)) {
            return Ok(());
        }
        let backend = self.model.backend();
        let mut sources = self.weights.tensors();
        let copy = Weights::build(self.model.dims(), |parts| {
            let len = Part::total(parts);
            let mut tensor = backend.zeros_for(Role::Activation, len)?;
            if let Some(source) = sources.next() {
                backend.copy(&mut tensor, source, len)?;
            }
            Ok::<_, B::Error>(tensor)
        })?;
        drop(sources);
        self.reference = Some(Arc::new(copy));
        Ok(())
    }

    fn start_training(&mut self) -> PolicyResult<(), B> {
        if self.training.is_none() {
            let zeros = || Weights::zeros(self.model.backend(), self.model.dims());
            self.training = Some(Training { grads: zeros()?, first_moments: zeros()?, second_moments: zeros()? });
        }
        Ok(())
    }

    fn check_interrupt(&self) -> PolicyResult<(), B> {
        if self.limits.is_interrupted() { Err(PolicyError::Interrupted(Interrupted)) } else { Ok(()) }
    }

    fn check(&self, what: &'static str, sequences: &[&[u32]]) -> PolicyResult<(), B> {
        let vocab = self.model.dims().vocab;
        for (index, tokens) in sequences.iter().enumerate() {
            if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
                return Err(PolicyError::UnknownToken { what, index, token, vocab });
            }
            if what == "prompt" && tokens.is_empty() {
                return Err(PolicyError::EmptyPrompt { index });
            }
        }
        Ok(())
    }

    /// Packs sequences, and checks that there is room for the results of every token.
    fn pack(&self, sequences: &Sequences<'_>) -> PolicyResult<Packed, B> {
        self.check("prompt", sequences.prompts)?;
        self.check("completion", sequences.completions)?;
        let (prompts, prompt_of) = (sequences.prompts.len(), sequences.prompt_of);
        check_len("prompt_of", prompt_of.len(), sequences.completions.len())?;
        if let Some(completion) = prompt_of.iter().position(|&p| p >= prompts) {
            return Err(PolicyError::PromptOf { completion, got: prompt_of[completion], prompts });
        }
        Ok(Packed::new(sequences.prompts, sequences.completions, prompt_of))
    }
}

fn check_len<E: BackendError>(argument: &'static str, got: usize, wanted: usize) -> Result<(), PolicyError<E>> {
    if got == wanted { Ok(()) } else { Err(PolicyError::Length { argument, got, wanted }) }
}

impl<B: TransformerBackend> Policy for TransformerPolicy<B> {
    type Backend = B;
    type Error = PolicyError<B::Error>;

    fn backend(&self) -> &B {
        self.model.backend()
    }

    fn width(&self) -> usize {
        self.model.dims().hidden
    }

    fn represent(&mut self, prompts: &[&[u32]], out: &mut B::Buffer) -> PolicyResult<(), B> {
        let packed = self.pack(&Sequences { prompts, completions: &[], prompt_of: &[] })?;
        self.model.log_probs(&self.weights, &packed, 1.0, Keep::Nothing)?;
        Ok(self.model.mean_hidden(&packed.prompts, out)?)
    }

    fn sample(&mut self, request: &SampleRequest<'_>) -> PolicyResult<Completions<B::Real>, B> {
        self.check("prompt", request.prompts)?;
        let completions = generate::sample(&mut self.model, &self.weights, &self.limits, request)?;
        self.check_interrupt()?;
        Ok(completions)
    }

    fn score(&mut self, sequences: &Sequences<'_>, model: Model, temperature: f64) -> ScoresOf<Self> {
        self.check_interrupt()?;
        let packed = self.pack(sequences)?;
        let weights = match model {
            Model::Policy => &self.weights,
            Model::Reference => self.reference.as_ref().ok_or(PolicyError::NoReference)?,
        };
        Ok(self.model.log_probs(weights, &packed, temperature, Keep::Nothing)?)
    }

    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        representation: Option<&mut B::Buffer>,
    ) -> ScoresOf<Self> {
        let packed = self.pack(sequences)?;
        let scores = self.model.log_probs(&self.weights, &packed, temperature, self.keep)?;
        if let Some(out) = representation {
            self.model.mean_hidden(&packed.prompts, out)?;
        }
        self.last = Some((packed, temperature));
        Ok(scores)
    }

    fn backward(
        &mut self,
        d_log_probs: &[B::Real],
        d_entropies: Option<&[B::Real]>,
        d_representation: Option<&B::Buffer>,
    ) -> PolicyResult<(), B> {
        self.start_training()?;
        let (packed, temperature) = self.last.take().ok_or(PolicyError::NoForward)?;
        check_len("d_log_probs", d_log_probs.len(), packed.targets.len())?;
        d_entropies.map_or(Ok(()), |d| check_len("d_entropies", d.len(), packed.targets.len()))?;
        let (weights, grads) = (&self.weights, &mut self.training.as_mut().expect(STARTED).grads);
        self.model.backward(weights, grads, &packed, temperature, d_log_probs, d_entropies, d_representation)?;
        Ok(())
    }

    fn grad_norm(&mut self) -> PolicyResult<f64, B> {
        let mut squares = 0.0;
        if let Some(training) = &self.training {
            for grad in training.grads.tensors() {
                let backend = self.model.backend();
                squares += backend.sum_squares(grad, backend.len(grad))?;
            }
        }
        Ok(squares.sqrt())
    }

    fn update(&mut self, step: &AdamWStep) -> PolicyResult<(), B> {
        self.start_training()?;
        self.part_from_reference()?;
        let backend = self.model.backend();
        let weights = Arc::get_mut(&mut self.weights).expect("no one but the reference shared them");
        let Training { grads, first_moments, second_moments } = self.training.as_mut().expect(STARTED);
        let moments = first_moments.tensors_mut().zip(second_moments.tensors_mut());
        for ((p, g), (m, v)) in weights.tensors_mut().zip(grads.tensors()).zip(moments) {
            backend.adamw(p, g, m, v, backend.len(g), step)?;
        }
        self.zero_grad()
    }

    fn zero_grad(&mut self) -> PolicyResult<(), B> {
        if let Some(training) = &mut self.training {
            let backend = self.model.backend();
            for grad in training.grads.tensors_mut() {
                let len = backend.len(grad);
                backend.fill(grad, B::Real::of(0.0), len)?;
            }
        }
        Ok(())
    }
}
