//! Why a transaction was flagged: the features that raised its margin most.

use crate::limits::REASONS_MAX;

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Column of the feature; the number of features stands for the anomaly.
    pub feature: u16,
    /// What it added to the margin, in log odds, positive.
    pub contribution: f32,
}

/// The largest positive contributions, largest first; at equal size the earlier column.
pub fn top_reasons(contributions: &[f32]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = contributions
        .iter()
        .enumerate()
        .filter(|(_, contribution)| **contribution > 0.0)
        .map(|(feature, &contribution)| Reason { feature: feature as u16, contribution })
        .collect();
    reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    reasons.truncate(REASONS_MAX);
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_positive_contributions_come_first() {
        let reasons = top_reasons(&[0.5, -3.0, 2.0, 0.0, f32::NAN, 0.5, 1.0, 0.1]);
        let features: Vec<u16> = reasons.iter().map(|reason| reason.feature).collect();
        assert_eq!(features, [2, 6, 0, 5]);
        assert!(top_reasons(&[-1.0, 0.0]).is_empty());
    }
}
