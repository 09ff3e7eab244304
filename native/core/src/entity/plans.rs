//! What the windows of each kind of entity keep beside the customer's, which keep everything.
//!
//! Each plan follows from the features of its kind in [`catalogue`](crate::feature::catalogue): a feature that
//! reads a window, a tag or an aggregate needs it here, and nothing else costs memory.

use crate::window::{Moments, NoAmounts, Plan, Sums, TAG_COUNT};

/// Declares the plan of one kind.
macro_rules! plan {
    ($(#[$doc:meta])* $name:ident: windows $windows:literal, tags $tags:literal, distinct $distinct:literal,
     seen $seen:expr, $money:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl Plan for $name {
            const WINDOWS: usize = $windows;
            const TAGS: usize = $tags;
            const DISTINCT: usize = $distinct;
            const SEEN: [bool; TAG_COUNT] = $seen;
            type Money = $money;
        }
    };
}

plan!(
    /// Counts and sums of a day, merchants of a day, countries of a week and whether one was seen in 30 days.
    CardPlan: windows 5, tags 2, distinct 3, seen [false, true], Sums
);
plan!(
    /// Counts of a day, customers of a week, cards of a day.
    DevicePlan: windows 4, tags 2, distinct 3, seen [false, false], NoAmounts
);
plan!(
    /// Counts, mean and deviation of 30 days, customers of a day.
    MerchantPlan: windows 5, tags 1, distinct 2, seen [false, false], Moments
);
plan!(
    /// Counts, customers and devices of a day.
    IpPlan: windows 3, tags 2, distinct 2, seen [false, false], NoAmounts
);
