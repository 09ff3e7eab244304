//! Units as types: a time cannot be added to an amount, nor a hash be mistaken for a count.

use std::num::NonZeroU64;

/// Microseconds since 1970-01-01T00:00:00Z at which a transaction happened, as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct EventTimeMicros(pub i64);

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct DurationMicros(pub i64);

/// Money in minor units of the engine's reference currency (cents for EUR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct AmountMinor(pub i64);

impl EventTimeMicros {
    /// The span from `earlier` to this time; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> DurationMicros {
        DurationMicros(self.0 - earlier.0)
    }

    /// The open lower end of the window `(t - width, t]` that closes at this time.
    #[must_use]
    pub const fn window_start(self, width: DurationMicros) -> Self {
        Self(self.0 - width.0)
    }
}

impl DurationMicros {
    /// The span in hours.
    pub fn hours(self) -> f64 {
        self.0 as f64 / 3_600_000_000.0
    }

    /// The span in days.
    pub fn days(self) -> f64 {
        self.0 as f64 / 86_400_000_000.0
    }
}

/// A 64-bit hash (XXH3) of an identifier's bytes, never zero.
///
/// The engine compares identifiers by this hash alone: among 100 million identifiers of one kind the
/// probability that any two collide is about `3e-4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EntityKey(NonZeroU64);

impl EntityKey {
    /// The key of an identifier.
    pub fn of(identifier: &[u8]) -> Self {
        Self::from_hash(xxhash_rust::xxh3::xxh3_64(identifier))
    }

    /// A key from a hash computed elsewhere (a snapshot); zero becomes one.
    pub fn from_hash(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// The hash.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// 31 bits that stand for this key inside an event log, never zero (zero means absent).
    ///
    /// Distinct counts and "seen before" compare these bits among at most
    /// [`EXACT_EVENTS_MAX`](crate::limits::EXACT_EVENTS_MAX) events of one entity.
    pub const fn fingerprint(self) -> u32 {
        let bits = (self.0.get() >> 33) as u32;
        if bits == 0 { 1 } else { bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_identifiers_have_equal_keys_and_a_non_zero_fingerprint() {
        assert_eq!(EntityKey::of(b"c1"), EntityKey::of(b"c1"));
        assert_ne!(EntityKey::of(b"c1"), EntityKey::of(b"c2"));
        assert_eq!(EntityKey::from_hash(0).get(), 1);
        assert_eq!(EntityKey::from_hash(0).fingerprint(), 1);
        assert!(EntityKey::of(b"x").fingerprint() < 1 << 31);
    }

    #[test]
    fn windows_open_at_their_lower_end() {
        let t = EventTimeMicros(1_000);
        assert_eq!(t.window_start(DurationMicros(600)), EventTimeMicros(400));
        assert_eq!(t.since(EventTimeMicros(250)), DurationMicros(750));
    }
}
