//! Random draws as a pure function of named counters.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): tiny, fast and good enough for simulation; a stream is seeded by
//! mixing what it is for (seed, purpose, customer, day), so no draw depends on the order of work.

/// One stream of draws.
#[derive(Clone, Debug)]
pub struct Draws(u64);

/// Spreads the bits of a number over the whole word.
pub const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Draws {
    /// The stream for one purpose and up to two numbers (a customer, a day).
    pub const fn new(seed: u64, purpose: u64, first: u64, second: u64) -> Self {
        Self(mix(mix(mix(seed ^ mix(purpose)) ^ first) ^ second))
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform integer in `[0, bound)`; `bound` is at least one.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.bits() as u128 * bound as u128) >> 64) as u64
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A sum of twelve uniforms less six: close to a standard normal, without a logarithm.
    pub fn normal(&mut self) -> f64 {
        // Four 16-bit uniforms per draw, three draws.
        let mut sum = 0_u32;
        for _ in 0..3 {
            let bits = self.bits();
            sum += (bits & 0xFFFF) as u32 + (bits >> 16 & 0xFFFF) as u32;
            sum += (bits >> 32 & 0xFFFF) as u32 + (bits >> 48) as u32;
        }
        f64::from(sum) / 65_536.0 - 6.0
    }

    /// A Poisson count (Knuth's product method; `mean` is small here), at most 60.
    pub fn poisson(&mut self, exp_of_minus_mean: f64) -> u32 {
        let mut product = self.unit();
        let mut count = 0;
        while product > exp_of_minus_mean && count < 60 {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// Position in a list whose cumulative weights end at one.
    pub fn weighted(&mut self, cumulative: &[f32]) -> usize {
        let at = self.unit() as f32;
        cumulative.iter().position(|&edge| at < edge).unwrap_or(cumulative.len() - 1)
    }

    /// Rank in `[0, len)` with the popularity of a power law: low ranks are drawn most.
    pub fn popular(&mut self, len: usize) -> usize {
        let u = self.unit();
        ((len as f64 * u * u * u) as usize).min(len - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_differ() {
        let draw = |purpose, first| Draws::new(1, purpose, first, 0).bits();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn moments_are_right() {
        let mut draws = Draws::new(7, 0, 0, 0);
        let n = 200_000;
        let values: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let counts: u32 = (0..n).map(|_| draws.poisson((-0.7_f64).exp())).sum();
        assert!((f64::from(counts) / f64::from(n) - 0.7).abs() < 0.01);
    }
}
