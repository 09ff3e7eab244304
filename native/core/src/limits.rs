//! Every bound of the engine in one file, with the relations between them asserted at compile time.
//!
//! A bound is part of the contract: each constant says what happens when it is reached.

use crate::units::{DurationMicros, EventTimeMicros};

// --- Transaction fields: beyond these a record is refused, naming field and value. -------------------

/// Longest identifier, in UTF-8 bytes.
pub const ID_BYTES_MAX: usize = 128;
/// Largest amount, in minor units (a billion major units of a two-decimal currency).
pub const AMOUNT_MINOR_MAX: i64 = 100_000_000_000;
/// Earliest accepted event time: 2000-01-01T00:00:00Z.
pub const EVENT_TIME_MIN: EventTimeMicros = EventTimeMicros(946_684_800_000_000);
/// Latest accepted event time: 2100-01-01T00:00:00Z.
pub const EVENT_TIME_MAX: EventTimeMicros = EventTimeMicros(4_102_444_800_000_000);
/// Largest merchant category code (ISO 18245 has four digits).
pub const MERCHANT_CATEGORY_MAX: i64 = 9_999;

// --- Windows. ----------------------------------------------------------------------------------------

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Number of sliding windows kept for every entity.
pub const WINDOW_COUNT: usize = 5;
/// Widths of the sliding windows `(t - w, t]`, ascending.
pub const WINDOWS: [DurationMicros; WINDOW_COUNT] = [
    DurationMicros(10 * MINUTE),
    DurationMicros(HOUR),
    DurationMicros(DAY),
    DurationMicros(7 * DAY),
    DurationMicros(30 * DAY),
];
/// Position in [`WINDOWS`] of the one of 10 minutes.
pub const M10: usize = 0;
/// Of the one of an hour.
pub const H1: usize = 1;
/// Of the one of 24 hours.
pub const H24: usize = 2;
/// Of the one of 7 days.
pub const D7: usize = 3;
/// Of the one of 30 days.
pub const D30: usize = 4;
/// The widest window.
pub const WINDOW_MAX: DurationMicros = WINDOWS[WINDOW_COUNT - 1];
/// Events kept exactly for one entity. Older ones, if still inside a window, move to panes and the
/// decision is flagged approximate.
pub const EXACT_EVENTS_MAX: usize = 512;
/// Panes per window beyond the exact events: the resolution falls to `w / PANES_PER_WINDOW`.
pub const PANES_PER_WINDOW: i64 = 64;
/// Default bound on how far behind the newest event a record may be and still enter its windows.
pub const LATENESS_DEFAULT: DurationMicros = DurationMicros(HOUR);
/// Largest lateness bound that can be configured; it is memory, kept for every entity.
pub const LATENESS_MAX: DurationMicros = DurationMicros(7 * DAY);

// --- State. ------------------------------------------------------------------------------------------

/// Slabs of each entity table. A slab has one writer; the number does not depend on the threads. A snapshot
/// copies one at a time between two batches, so that many mean short pauses.
pub const SLAB_COUNT: usize = 256;
/// Default bound on live entities of each kind; the least recently seen of a sample makes room.
pub const ENTITIES_DEFAULT: usize = 8_388_608;
/// Default bound on the bytes of all tables together; the least recently seen of a sample makes room. Half of a machine
/// with 16 GiB; about 2,000,000 customers of 22 transactions a month with all that they touch.
pub const MEMORY_DEFAULT: usize = 8 << 30;
/// Smallest such bound that can be configured: room for the largest customer in every slab.
pub const MEMORY_MIN: usize = 128 << 20;
/// Pieces that the bytes are cut into.
pub const MEMORY_PIECES: usize = 32;
/// How many of them customers, cards, devices, merchants and addresses may hold, about as a month of transactions needs
/// them. The rest is what the allocator takes beyond what it is asked for: under steady eviction 1.4 times, by
/// `benchmarks/memory.py`. Fixed: a share that followed the need would depend on what the tables hold between
/// batches, and the outcome on where the batches are cut.
pub const MEMORY_SHARES: [usize; 5] = [7, 6, 3, 3, 2];
/// Slots looked at when one must be evicted from a full slab.
pub const EVICTION_SAMPLE: usize = 8;
/// Slots looked at for idle entities whenever a new entity arrives.
pub const EXPIRY_SAMPLE: usize = 2;
/// An entity without an event or a report of fraud for this long may be dropped, with what is known of its habits.
pub const IDLE_MAX: DurationMicros = DurationMicros(90 * DAY);
/// Recent transaction ids kept for each customer: the horizon within which a repeated id is answered
/// with its first decision.
pub const RECENT_IDS_MAX: usize = 8;
/// Known frauds kept for one entity; the earliest reported makes room.
pub const KNOWN_FRAUDS_MAX: usize = 128;
/// Labels that wait for the time they were known; beyond it the earliest is taken in at once.
pub const PENDING_LABELS_MAX: usize = 1_048_576;
/// Merchant categories remembered for each customer, most recently used first.
pub const RECENT_CATEGORIES_MAX: usize = 8;

// --- Work. -------------------------------------------------------------------------------------------

/// Transactions in one micro-batch; longer inputs are cut.
pub const BATCH_MAX: usize = 1_024;
/// Reasons given for one flagged decision.
pub const REASONS_MAX: usize = 4;

// --- Model files (SCORE): a file beyond these is refused. --------------------------------------------

/// Base features of an ensemble; one more is the anomaly.
pub const MODEL_FEATURES_MAX: usize = 127;
/// Trees of one model.
pub const MODEL_TREES_MAX: usize = 4_096;
/// Nodes of one tree.
pub const MODEL_TREE_NODES_MAX: usize = 65_535;
/// Edges from the root to the deepest leaf.
pub const MODEL_TREE_DEPTH_MAX: usize = 64;
/// Nodes of all trees of a file together.
pub const MODEL_NODES_MAX: usize = 4_194_304;
/// Leaves of a tree whose values the byte-wide kernels can number; deeper models run on the portable kernel.
pub const SIMD_LEAVES_MAX: usize = 256;
/// Byte columns of the byte-wide kernel (64 bytes each per block of rows); more run on the portable one.
pub const SIMD_COLUMNS_MAX: usize = 1_024;

const _: () = {
    let mut i = 1;
    while i < WINDOW_COUNT {
        assert!(WINDOWS[i - 1].0 < WINDOWS[i].0, "windows ascend");
        i += 1;
    }
    i = 0;
    while i < WINDOW_COUNT {
        assert!(WINDOWS[i].0 % PANES_PER_WINDOW == 0, "a pane is a whole number of microseconds");
        i += 1;
    }
    assert!(EXACT_EVENTS_MAX <= u16::MAX as usize / 2, "log positions are u16");
    // A sum over all exact events, and its squares, cannot overflow their integers.
    assert!(AMOUNT_MINOR_MAX < i64::MAX / EXACT_EVENTS_MAX as i64);
    assert!(SLAB_COUNT.is_power_of_two());
    let mut shares = 0;
    i = 0;
    while i < MEMORY_SHARES.len() {
        shares += MEMORY_SHARES[i];
        i += 1;
    }
    assert!(4 * shares <= 3 * MEMORY_PIECES, "enough is left to the allocator");
    assert!(BATCH_MAX <= u32::MAX as usize);
    assert!(LATENESS_DEFAULT.0 <= LATENESS_MAX.0);
    assert!(WINDOW_MAX.0 + LATENESS_MAX.0 <= IDLE_MAX.0, "an entity outlives its windows");
};
