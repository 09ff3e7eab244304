//! The model that decides, and how it is exchanged while the stream runs.
//!
//! The engine looks here once per chunk: a chunk is decided by one model, and every decision says by which.

use std::sync::{Arc, Mutex, PoisonError};

use fraudengine_core::Model;

/// A model with its name.
pub struct ActiveModel {
    /// Ensemble, backend and policy.
    pub model: Model,
    /// First 8 bytes of the bundle's hash; never 0.
    pub short_hash: u64,
}

/// Where the current model is; clones share it.
#[derive(Clone, Default)]
pub struct ModelSlot(Arc<Mutex<Option<Arc<ActiveModel>>>>);

impl ModelSlot {
    /// Decides with this model from the next chunk on.
    pub fn set(&self, model: ActiveModel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(model));
    }

    /// The model that decides now.
    pub fn get(&self) -> Option<Arc<ActiveModel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
