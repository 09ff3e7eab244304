//! Stage 2, UPDATE: exact sliding windows per entity, in bounded memory.
//!
//! [`EventLog`] keeps an entity's recent events sorted by time and, for each window `(t - w, t]`, the
//! running aggregates at the newest time; a [`Plan`] says which of them its kind of entity needs. Beyond [`EXACT_EVENTS_MAX`](crate::limits::EXACT_EVENTS_MAX)
//! events, older ones fall into [`panes`](PaneRings). [`FraudLog`] keeps what labels have told so far.
//! [`Table`] maps keys to entities, in slabs with one writer each.

mod block;
mod events;
mod extremes;
mod fraud_log;
mod index;
mod late;
mod leaving;
mod log;
mod panes;
mod persist;
mod plan;
mod slab;
mod table;
mod view;

pub use block::{EventBlock, SUPERSEDED};
pub use extremes::Extremes;
pub use fraud_log::{FraudLog, FraudView, KnownFraud, REPORT_WINDOWS};
pub use log::{DISTINCT_WINDOWS, EXTREME_WINDOWS, Event, EventLog, TAG_COUNT};
pub use panes::PaneRings;
pub use plan::{AllAmounts, Amounts, Everything, Moments, Money, NoAmounts, Plan, Squares, Sums};
pub use slab::{Entity, Slab, SlabBounds, SlabStats, SlotHint};
pub use table::Table;
pub use view::WindowView;
