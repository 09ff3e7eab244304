//! Stage 4, SCORE: the compiled ensemble behind one trait, with a reference walker as its oracle.

/// Scores rows of features.
pub trait Scorer: Send + Sync {
    /// Scores row-major rows into one anomaly and one margin each.
    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]);
}
