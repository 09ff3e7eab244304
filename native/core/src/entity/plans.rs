//! What the windows of each kind of entity keep.
//!
//! Each plan follows from the features of its kind in [`catalogue`](crate::feature::catalogue): a feature that
//! reads a window, a tag or an aggregate needs it here, and nothing else costs memory or time.

use crate::limits::{D7, D30, H1, H24, M10};
use crate::window::{AllAmounts, Moments, NoAmounts, Plan, Sums, TAG_COUNT};

/// Declares the plan of one kind, with windows by their names.
macro_rules! plan {
    ($(#[$doc:meta])* $name:ident: windows $windows:tt, sums $sums:tt, tags $tags:literal, distinct $distinct:tt,
     seen $seen:expr, $money:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl Plan for $name {
            const WINDOWS: &'static [usize] = &$windows;
            const SUMS: &'static [usize] = &$sums;
            const TAGS: usize = $tags;
            const DISTINCT: [&'static [usize]; TAG_COUNT] = $distinct;
            const SEEN: [bool; TAG_COUNT] = $seen;
            type Money = $money;
        }
    };
}

plan!(
    /// Everything but the sum of ten minutes and what is different within an hour.
    CustomerPlan: windows [M10, H1, H24, D7, D30], sums [H1, H24, D7, D30], tags 2,
    distinct [&[H24, D7], &[D7]], seen [true, true], AllAmounts<4>
);
plan!(
    /// Counts, sum and merchants of a day, countries of a week and whether one was seen in 30 days.
    CardPlan: windows [H1, H24, D7, D30], sums [H24], tags 2, distinct [&[H24], &[D7]], seen [false, true], Sums<1>
);
plan!(
    /// Counts of a day, customers of a week, cards of a day.
    DevicePlan: windows [H1, H24, D7], sums [], tags 2, distinct [&[H24, D7], &[H24]], seen [false, false], NoAmounts
);
plan!(
    /// Counts, mean and deviation of 30 days, customers of a day.
    MerchantPlan: windows [H1, H24, D7, D30], sums [D30], tags 1, distinct [&[H24], &[]], seen [false, false],
    Moments<1>
);
plan!(
    /// Counts, customers and devices of a day.
    IpPlan: windows [H1, H24], sums [], tags 2, distinct [&[H24], &[H24]], seen [false, false], NoAmounts
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LATENESS_DEFAULT, WINDOW_COUNT, WINDOWS};
    use crate::snapshot::{Reader, Writer};
    use crate::window::{DISTINCT_WINDOWS, Event, EventLog, Everything, WindowView};
    use proptest::prelude::*;

    /// What a plan keeps of a view in which everything is kept.
    fn kept<P: Plan>(all: &WindowView, event: &Event) -> WindowView {
        let mut view = WindowView { since_last: all.since_last, ..WindowView::of(event) };
        for &window in P::WINDOWS {
            view.count[window] = all.count[window];
        }
        for &window in P::SUMS {
            view.sum[window] = all.sum[window];
        }
        for which in 0..P::TAGS {
            for (slot, window) in DISTINCT_WINDOWS.iter().enumerate() {
                if P::DISTINCT[which].contains(window) {
                    view.distinct[which][slot] = all.distinct[which][slot];
                }
            }
            if P::SEEN[which] {
                view.seen[which] = all.seen[which];
            }
        }
        view
    }

    /// Lets a log of the plan and one of everything take in the same events; restores the first one on the way.
    fn compare<P: Plan>(steps: &[(i64, i64, [u32; 2])]) -> Result<(), TestCaseError> {
        let (mut log, mut everything) = (EventLog::<P>::default(), EventLog::<Everything>::default());
        let mut newest = 1_600_000_000_000_000;
        for (at, &(step, amount, tags)) in steps.iter().enumerate() {
            // A late event looks back over the widest window of its plan, which may be narrower than that of everything.
            let in_order = P::WINDOWS.len() < WINDOW_COUNT - 1;
            let time = newest + if in_order { step.abs() } else { step.max(-LATENESS_DEFAULT.0) };
            newest = newest.max(time);
            let event = Event { time, amount, tags };
            let all = everything.observe(&event, LATENESS_DEFAULT);
            let view = log.observe(&event, LATENESS_DEFAULT);
            let wanted = kept::<P>(&all, &event);
            prop_assert_eq!(view.count, wanted.count, "event {}", at);
            prop_assert_eq!((view.sum, view.distinct), (wanted.sum, wanted.distinct), "event {}", at);
            prop_assert_eq!((view.seen, view.since_last), (wanted.seen, wanted.since_last), "event {}", at);
            if at == steps.len() / 2 {
                let mut bytes = Writer::default();
                log.write(&mut bytes);
                log = EventLog::read(&mut Reader::new(&bytes.bytes)).expect("a log that was written");
            }
        }
        Ok(())
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, i64, [u32; 2])>> {
        let step = prop_oneof![
            Just(0),
            -3_600_000_000..0_i64,
            0..2_000_000_i64,
            0..20_000_000_000_i64,
            prop::sample::select(WINDOWS.map(|width| width.0).to_vec()),
        ];
        prop::collection::vec((step, 0..50_000_i64, [0..6_u32, 0..4_u32]), 1..700)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_plan_keeps_its_part_of_everything(steps in steps()) {
            compare::<CustomerPlan>(&steps)?;
            compare::<CardPlan>(&steps)?;
            compare::<DevicePlan>(&steps)?;
            compare::<MerchantPlan>(&steps)?;
            compare::<IpPlan>(&steps)?;
        }
    }
}
