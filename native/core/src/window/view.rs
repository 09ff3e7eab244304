//! What the windows of one entity say about one event: the facts that features are made of.

use super::extremes::Extremes;
use super::log::{DISTINCT_WINDOWS, EXTREME_WINDOWS, Event, TAG_COUNT};
use crate::limits::WINDOW_COUNT;
use crate::units::DurationMicros;

/// Aggregates over `(t - w, t]` at one event. What the plan of the log does not keep is as in [`of`](Self::of).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowView {
    /// Events in each window, this one included.
    pub count: [u64; WINDOW_COUNT],
    /// Sum of their amounts in minor units, this one included.
    pub sum: [i64; WINDOW_COUNT],
    /// Smallest and largest amount of the earlier events in each of [`EXTREME_WINDOWS`].
    pub prior_extremes: [Extremes; EXTREME_WINDOWS.len()],
    /// Sum of squared amounts of the earlier events in the widest window.
    pub prior_squares: i128,
    /// Distinct values of each tag in each of [`DISTINCT_WINDOWS`], this event included.
    pub distinct: [[u32; DISTINCT_WINDOWS.len()]; TAG_COUNT],
    /// Earlier events of the widest window with the same tag; `None` if this event has no such tag.
    pub seen: [Option<u32>; TAG_COUNT],
    /// Time since the event before; `None` for the first one.
    pub since_last: Option<DurationMicros>,
    /// Whether some aggregate includes panes instead of single events.
    pub approximate: bool,
}

impl WindowView {
    /// Windows in which an event is alone.
    pub const fn of(event: &Event) -> Self {
        Self {
            count: [1; WINDOW_COUNT],
            sum: [event.amount; WINDOW_COUNT],
            prior_extremes: [Extremes::EMPTY; EXTREME_WINDOWS.len()],
            prior_squares: 0,
            distinct: [[0; DISTINCT_WINDOWS.len()]; TAG_COUNT],
            seen: [None; TAG_COUNT],
            since_last: None,
            approximate: false,
        }
    }
}
