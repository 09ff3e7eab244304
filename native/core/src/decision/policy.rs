//! Calibration, thresholds and the action they give.

/// What to do with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// Let it pass.
    Approve = 0,
    /// Let an analyst look.
    Review = 1,
    /// Stop it.
    Block = 2,
}

impl Action {
    /// The action's code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The action of a code; an unknown code is the cautious [`Action::Review`].
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Approve,
            2 => Self::Block,
            _ => Self::Review,
        }
    }
}

/// Maps the ensemble's margin (its anomaly, if it has no booster) to a probability:
/// `1 / (1 + exp(-(slope * margin + intercept)))`.
///
/// Strictly increasing (Platt 1999), so calibration never changes the ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Positive.
    pub slope: f64,
    /// Any finite number.
    pub intercept: f64,
}

impl Calibration {
    /// The probability of fraud, 0 to 1.
    pub fn probability(&self, margin: f32) -> f32 {
        let log_odds = self.slope * f64::from(margin) + self.intercept;
        (1.0 / (1.0 + libm::exp(-log_odds))) as f32
    }
}

/// Calibration and thresholds of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// From margin to score.
    pub calibration: Calibration,
    /// Scores from here on are reviewed.
    pub review_from: f32,
    /// Scores from here on are blocked; not below `review_from`.
    pub block_from: f32,
}

impl Policy {
    /// The action for a score; a score that is not a number is reviewed, never approved.
    pub fn action(&self, score: f32) -> Action {
        if score >= self.block_from {
            Action::Block
        } else if score < self.review_from {
            Action::Approve
        } else {
            Action::Review
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { calibration: Calibration { slope: 1.0, intercept: 0.0 }, review_from: 0.5, block_from: 0.9 };

    #[test]
    fn thresholds_belong_to_the_stricter_side() {
        assert_eq!(POLICY.action(0.49), Action::Approve);
        assert_eq!(POLICY.action(0.5), Action::Review);
        assert_eq!(POLICY.action(0.9), Action::Block);
        assert_eq!(POLICY.action(f32::NAN), Action::Review);
    }

    #[test]
    fn probabilities_increase_with_the_margin_and_stay_inside() {
        let scores: Vec<f32> =
            [-200.0, -3.0, 0.0, 3.0, 200.0].iter().map(|&m| POLICY.calibration.probability(m)).collect();
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((scores[2] - 0.5).abs() < 1e-7);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    }

    #[test]
    fn codes_and_actions_are_inverse() {
        for action in [Action::Approve, Action::Review, Action::Block] {
            assert_eq!(Action::from_code(action.code()), action);
        }
        assert_eq!(Action::from_code(9), Action::Review);
    }
}
