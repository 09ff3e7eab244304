//! The engine on one screen: five stages, one fold.
//!
//! DECODE happens before (see [`event`](crate::event)); [`Engine::process_batch`] then runs UPDATE and
//! ASSEMBLE for each kind of entity, SCORE over all rows, and DECIDE. The same batches give the same
//! decisions for any number of workers and for any cut of the input into batches.

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};

use crate::decision::{Action, Policy, Reason, top_reasons};
use crate::entity::{
    CardState, Context, CustomerState, DeviceState, Earlier, IpState, MerchantState, Profile,
};
use crate::event::{ENTITY_KINDS, EntityKind, Label, Transaction};
use crate::feature::{SharedRows, catalogue};
use crate::fold::{Others, Update};
use crate::limits::{
    ENTITIES_DEFAULT, LATENESS_DEFAULT, LATENESS_MAX, MEMORY_DEFAULT, MEMORY_PIECES, MEMORY_SHARES,
    SLAB_COUNT,
};
use crate::model::{Ensemble, Scorer};
use crate::pending::PendingLabels;
use crate::units::{DurationMicros, EventTimeMicros};
use crate::window::{SlabStats, Table};
use crate::workers::{self, Workers};

/// Bits that say how a decision came about.
pub mod flag {
    /// The id was decided before; the answer is the first decision and nothing was counted again.
    pub const DUPLICATE: u8 = 1;
    /// Behind the newest event by more than the lateness bound: decided, but not entered in any window.
    pub const LATE: u8 = 2;
    /// Some window reads panes instead of single events.
    pub const APPROXIMATE: u8 = 4;
}

/// Settings that decide what the fold computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// Lateness bound, at most [`LATENESS_MAX`].
    pub lateness: DurationMicros,
    /// Bound on live entities of each kind.
    pub entities_max: usize,
    /// Bound on the bytes of all tables together, shared out by [`MEMORY_SHARES`]; zero: only the number of entities
    /// is bounded.
    pub memory_max: usize,
    /// Digits after the decimal point of the reference currency.
    pub minor_digits: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lateness: LATENESS_DEFAULT,
            entities_max: ENTITIES_DEFAULT,
            memory_max: MEMORY_DEFAULT,
            minor_digits: 2,
        }
    }
}

/// An ordered piece of the input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Transactions in the order they are decided.
    pub transactions: &'a [Transaction],
    /// Labels, each with the row before which it arrived (the number of rows: after all), ascending.
    pub labels: &'a [(u32, Label)],
}

/// A model that can be activated: an ensemble, the backend that runs it, and what its margins mean.
pub struct Model {
    /// Explains flagged decisions.
    pub ensemble: Ensemble,
    /// Stage 4: one of the ensemble's backends.
    pub scorer: Arc<dyn Scorer>,
    /// Stage 5.
    pub policy: Policy,
}

impl Model {
    /// Stages 4 and 5 of rows of features, `catalogue::WIDTH` each; every other slice has one value a row.
    pub fn judge(
        &self,
        features: &[f32],
        anomaly: &mut [f32],
        margin: &mut [f32],
        score: &mut [f32],
        action: &mut [Action],
    ) {
        self.scorer.score(features, anomaly, margin);
        let evidence: &[f32] = if self.ensemble.has_booster() { margin } else { anomaly };
        for (row, &evidence) in evidence.iter().enumerate() {
            score[row] = self.policy.calibration.probability(evidence);
            action[row] = self.policy.action(score[row]);
        }
    }
}

/// The reasons of one flagged row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowReasons {
    /// Row of the batch.
    pub row: u32,
    /// Largest first.
    pub reasons: Vec<Reason>,
}

/// What comes out of a batch, row by row. Reused from batch to batch.
#[derive(Debug, Default)]
pub struct Output {
    /// `rows * catalogue::WIDTH` feature values, row-major; NaN is missing. A repeated id has none.
    pub features: Vec<f32>,
    /// Anomaly score of the isolation forest; NaN without a forest.
    pub anomaly: Vec<f32>,
    /// The ensemble's margin (log odds); NaN for a repeated id or without a model.
    pub margin: Vec<f32>,
    /// Calibrated probability of fraud, 0 to 1; NaN without a model.
    pub score: Vec<f32>,
    /// The decision; without a model everything is reviewed.
    pub action: Vec<Action>,
    /// Bits of [`flag`].
    pub flags: Vec<u8>,
    /// Reasons of the rows that were not approved, by row.
    pub reasons: Vec<RowReasons>,
}

impl Output {
    pub(crate) fn reset(&mut self, rows: usize) {
        self.features.clear();
        self.features.resize(rows * catalogue::WIDTH, f32::NAN);
        for values in [&mut self.anomaly, &mut self.margin, &mut self.score] {
            values.clear();
            values.resize(rows, f32::NAN);
        }
        self.action.clear();
        self.action.resize(rows, Action::Review);
        self.reasons.clear();
    }
}

/// Counters since the engine was made or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions decided, repeated and late ones included.
    pub transactions: u64,
    /// Labels taken in.
    pub labels: u64,
    /// Transactions answered with an earlier decision.
    pub duplicates: u64,
    /// Transactions behind the lateness bound.
    pub late: u64,
    /// Transactions whose features include panes.
    pub approximate: u64,
}

/// What each table may hold of the bytes of all, in the order of [`EntityKind::ALL`].
fn bytes_of_tables(memory_max: usize) -> [usize; ENTITY_KINDS] {
    // Divided first: no product of a configured number can overflow.
    let piece = memory_max / MEMORY_PIECES;
    MEMORY_SHARES.map(|share| if memory_max == 0 { usize::MAX } else { piece * share })
}

/// The state of the fold.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) customers: Table<CustomerState>,
    pub(crate) cards: Table<CardState>,
    pub(crate) devices: Table<DeviceState>,
    pub(crate) merchants: Table<MerchantState>,
    pub(crate) ips: Table<IpState>,
    /// Newest event time of all.
    pub(crate) watermark: EventTimeMicros,
    pub(crate) counters: Counters,
    /// Labels that are not due yet.
    pub(crate) pending: PendingLabels,
}

impl Engine {
    /// An engine that has seen nothing. A lateness above its limit is cut to it.
    pub fn new(config: EngineConfig) -> Self {
        let config =
            EngineConfig { lateness: config.lateness.clamp(DurationMicros(0), LATENESS_MAX), ..config };
        let max = config.entities_max;
        let [customers, cards, devices, merchants, ips] = bytes_of_tables(config.memory_max);
        Self {
            config,
            customers: Table::new(max, customers),
            cards: Table::new(max, cards),
            devices: Table::new(max, devices),
            merchants: Table::new(max, merchants),
            ips: Table::new(max, ips),
            watermark: EventTimeMicros(i64::MIN),
            counters: Counters::default(),
            pending: PendingLabels::default(),
        }
    }

    /// Changes how much the tables may hold (see [`EngineConfig`]); what is above it is evicted and counted.
    pub fn rebound(&mut self, entities_max: usize, memory_max: usize) {
        let [customers, cards, devices, merchants, ips] = bytes_of_tables(memory_max);
        self.customers.rebound(entities_max, customers);
        self.cards.rebound(entities_max, cards);
        self.devices.rebound(entities_max, devices);
        self.merchants.rebound(entities_max, merchants);
        self.ips.rebound(entities_max, ips);
        (self.config.entities_max, self.config.memory_max) = (entities_max, memory_max);
    }

    /// Takes in a batch: updates every window, fills the features, scores and decides.
    pub fn process_batch(
        &mut self,
        batch: Batch<'_>,
        model: Option<&Model>,
        workers: &dyn Workers,
        out: &mut Output,
    ) {
        let flags = self.flag_late(batch.transactions);
        let repeated = Mutex::new(Vec::new());
        self.update(batch, &flags, &repeated, None, workers, out);
        out.flags = flags.into_iter().map(AtomicU8::into_inner).collect();

        if let Some(model) = model {
            score_and_decide(model, workers, out);
        }
        let mut repeated = repeated.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        repeated.sort_unstable_by_key(|(row, _)| *row);
        self.settle(batch, &repeated, out);
    }

    /// UPDATE and ASSEMBLE: every table takes in the batch and writes its features.
    pub(crate) fn update(
        &mut self,
        batch: Batch<'_>,
        flags: &[AtomicU8],
        repeated: &Mutex<Vec<(u32, Earlier)>>,
        replayed: Option<&[u32]>,
        workers: &dyn Workers,
        out: &mut Output,
    ) {
        out.reset(batch.transactions.len());
        let context = self.context();
        let rows = SharedRows::new(&mut out.features, catalogue::WIDTH);
        let update = Update { batch, context: &context, rows: &rows, flags, repeated, replayed };
        // Customers first: they know the repeated ids, which the others then leave alone.
        update.run(&mut self.customers, workers);
        let Self { cards, devices, merchants, ips, .. } = self;
        update.run_others(Others { cards, devices, merchants, ips }, workers);
    }

    /// Constants that features depend on.
    pub(crate) fn context(&self) -> Context {
        Context::new(self.config.lateness, self.config.minor_digits)
    }

    /// Takes in a label that may not be due yet: it becomes known before the first transaction at or after
    /// the time it was known.
    pub fn expect(&mut self, label: Label) {
        self.pending.push(label);
    }

    /// The labels that become known with these transactions, for [`Batch::labels`].
    pub fn due_labels(&mut self, transactions: &[Transaction]) -> Vec<(u32, Label)> {
        let now = self.watermark();
        self.pending.due(transactions, now)
    }

    /// Labels that wait for their time.
    pub fn labels_pending(&self) -> usize {
        self.pending.len()
    }

    /// Flags what lies behind the lateness bound, in batch order.
    fn flag_late(&mut self, transactions: &[Transaction]) -> Vec<AtomicU8> {
        let lateness = self.config.lateness;
        let flag_one = |transaction: &Transaction| {
            self.watermark = self.watermark.max(transaction.time);
            let late = transaction.time < self.watermark.window_start(lateness);
            AtomicU8::new(if late { flag::LATE } else { 0 })
        };
        transactions.iter().map(flag_one).collect()
    }

    /// Answers repeated ids with their first decision, remembers the new decisions, and counts.
    fn settle(&mut self, batch: Batch<'_>, repeated: &[(u32, Earlier)], out: &mut Output) {
        for &(row, earlier) in repeated {
            let row = row as usize;
            (out.score[row], out.action[row]) = match earlier {
                Earlier::InBatch(first) => (out.score[first as usize], out.action[first as usize]),
                Earlier::Decided { score, action } => (score, action),
            };
            (out.margin[row], out.anomaly[row]) = (f32::NAN, f32::NAN);
        }
        for (row, transaction) in batch.transactions.iter().enumerate() {
            self.count(out.flags[row]);
            self.remember(transaction, out.flags[row], out.score[row], out.action[row]);
        }
        self.counters.labels += batch.labels.len() as u64;
    }

    /// Counts one transaction by its flags.
    pub(crate) const fn count(&mut self, flags: u8) {
        self.counters.transactions += 1;
        self.counters.duplicates += (flags & flag::DUPLICATE != 0) as u64;
        self.counters.late += (flags & flag::LATE != 0) as u64;
        self.counters.approximate += (flags & flag::APPROXIMATE != 0) as u64;
    }

    /// Remembers a decision with its customer, for when the id comes again.
    pub(crate) fn remember(&mut self, transaction: &Transaction, flags: u8, score: f32, action: Action) {
        if flags & (flag::DUPLICATE | flag::LATE) == 0
            && let Some(key) = transaction.entity(EntityKind::Customer)
            && let Some(ids) = self.customers.get_mut(key).and_then(Profile::recent_ids)
        {
            ids.decide(transaction.id, score, action);
        }
    }

    /// The settings.
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Counters since the engine was made or restored.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Newest event time seen; `None` before the first event.
    pub fn watermark(&self) -> Option<EventTimeMicros> {
        (self.watermark.0 != i64::MIN).then_some(self.watermark)
    }

    /// Live entities, bytes held, and evictions of each kind, in the order of [`EntityKind::ALL`].
    pub fn tables(&self) -> [TableStats; ENTITY_KINDS] {
        std::array::from_fn(|kind| {
            let parts = (0..SLAB_COUNT).map(|slab| self.part_stats(kind * SLAB_COUNT + slab));
            parts.fold(TableStats::default(), TableStats::plus)
        })
    }

    /// The same of one part (see [`Engine::write_part`]).
    pub fn part_stats(&self, part: usize) -> TableStats {
        fn stats<P: Profile>(table: &Table<P>, slab: usize) -> TableStats {
            let slab = table.slab(slab);
            TableStats { entities: slab.len(), bytes: slab.bytes(), slabs: slab.stats() }
        }
        let slab = part % SLAB_COUNT;
        match EntityKind::ALL[part / SLAB_COUNT] {
            EntityKind::Customer => stats(&self.customers, slab),
            EntityKind::Card => stats(&self.cards, slab),
            EntityKind::Device => stats(&self.devices, slab),
            EntityKind::Merchant => stats(&self.merchants, slab),
            EntityKind::Ip => stats(&self.ips, slab),
        }
    }
}

/// Size of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Live entities.
    pub entities: usize,
    /// Bytes of memory held.
    pub bytes: usize,
    /// Evictions and expiries.
    pub slabs: SlabStats,
}

impl TableStats {
    /// Of two pieces together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            entities: self.entities + other.entities,
            bytes: self.bytes + other.bytes,
            slabs: self.slabs.plus(other.slabs),
        }
    }
}

/// A contiguous part of the rows, and where their decisions go.
struct Part<'a> {
    first_row: usize,
    features: &'a [f32],
    flags: &'a [u8],
    anomaly: &'a mut [f32],
    margin: &'a mut [f32],
    score: &'a mut [f32],
    action: &'a mut [Action],
}

/// Stages 4 and 5: each worker scores and decides a contiguous part of the rows.
pub(crate) fn score_and_decide(model: &Model, workers: &dyn Workers, out: &mut Output) {
    let rows = out.margin.len();
    let size = rows.div_ceil(workers.count()).max(1);
    let features = out.features.chunks(size * catalogue::WIDTH).zip(out.flags.chunks(size));
    let scores = out.anomaly.chunks_mut(size).zip(out.margin.chunks_mut(size));
    let decisions = out.score.chunks_mut(size).zip(out.action.chunks_mut(size));
    let parts: Vec<_> = features
        .zip(scores)
        .zip(decisions)
        .enumerate()
        .map(|(at, (((features, flags), (anomaly, margin)), (score, action)))| {
            let part = Part { first_row: at * size, features, flags, anomaly, margin, score, action };
            (part, Vec::new())
        })
        .collect();
    let parts = workers::each(workers, parts, |(part, reasons)| part.run(model, reasons));
    out.reasons = parts.into_iter().flat_map(|(_, reasons)| reasons).collect();
}

impl Part<'_> {
    fn run(&mut self, model: &Model, reasons: &mut Vec<RowReasons>) {
        model.judge(self.features, self.anomaly, self.margin, self.score, self.action);
        let mut contributions = vec![0.0; model.ensemble.attribution_width()];
        for row in 0..self.action.len() {
            if self.action[row] != Action::Approve && self.flags[row] & flag::DUPLICATE == 0 {
                let features = &self.features[row * catalogue::WIDTH..(row + 1) * catalogue::WIDTH];
                model.ensemble.attribute(features, self.anomaly[row], &mut contributions);
                // The last one is the bias.
                let reasons_of_row = top_reasons(&contributions[..contributions.len() - 1]);
                reasons.push(RowReasons { row: (self.first_row + row) as u32, reasons: reasons_of_row });
            }
        }
    }
}
