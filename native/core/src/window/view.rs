//! What the windows of one entity say about one event: the facts that features are made of.

use super::extremes::Extremes;
use super::log::{DISTINCT_WINDOWS, EXTREME_WINDOWS, TAG_COUNT};
use crate::limits::WINDOW_COUNT;
use crate::units::DurationMicros;

/// Aggregates over `(t - w, t]` at one event.
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
