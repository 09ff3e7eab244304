//! Decides transactions without taking them in: what the engine would answer if each were the next one.
//!
//! The same formulas on copies of the entities that a transaction names, so the answer equals that of
//! [`Engine::process_batch`] on a copy of the whole state, bit for bit (`tests/peek.rs`). Every row stands alone: it does
//! not see the rows before it. Labels that wait and are due by then are known to it.

use crate::decision::Action;
use crate::engine::{Engine, Model, Output, flag, score_and_decide};
use crate::entity::{Context, Earlier, Profile};
use crate::event::{Label, Transaction};
use crate::feature::catalogue;
use crate::units::{AmountMinor, EntityKey};
use crate::window::Table;
use crate::workers::Inline;

/// Features of a customer that say something between two transactions: none of them reads the transaction's own values.
pub const STANDING: [&str; 17] = [
    "customer_count_10m",
    "customer_count_1h",
    "customer_count_24h",
    "customer_count_7d",
    "customer_count_30d",
    "customer_sum_1h",
    "customer_sum_24h",
    "customer_sum_7d",
    "customer_sum_30d",
    "customer_hours_since_last",
    "customer_mean_30d",
    "customer_deviation_30d",
    "customer_merchants_24h",
    "customer_merchants_7d",
    "customer_devices_7d",
    "customer_frauds_30d",
    "customer_days_since_fraud",
];
/// Those of them that count the transaction that looks.
const COUNTS: usize = 5;

/// One transaction that looks at the state.
struct Look<'a> {
    transaction: &'a Transaction,
    context: Context,
    /// Due, but not yet known to the entities.
    labels: Vec<Label>,
    /// The row's features.
    columns: &'a mut [f32],
    flags: u8,
    earlier: Option<Earlier>,
}

impl Look<'_> {
    /// Writes the columns of one kind of entity, as an update would.
    fn at<P: Profile>(&mut self, table: &Table<P>) {
        let Some(key) = self.transaction.entity(P::KIND) else { return };
        if self.flags & flag::DUPLICATE != 0 {
            return;
        }
        let mut entity = table.get(key).cloned();
        for label in self.labels.iter().filter(|label| label.entities[P::KIND as usize] == Some(key)) {
            if label.is_fraud {
                entity.get_or_insert_default().learn(label);
            } else if let Some(known) = &mut entity {
                known.learn(label);
            }
        }
        let mut entity = entity.unwrap_or_default();
        if let Some(earlier) = entity.recent_ids().and_then(|ids| ids.find(self.transaction.id)) {
            self.earlier = Some(earlier);
            self.flags |= flag::DUPLICATE;
            return;
        }
        let first = const { catalogue::first_column(P::KIND) };
        let columns = &mut self.columns[first..first + P::COLUMNS];
        if entity.observe(self.transaction, &self.context, columns) {
            self.flags |= flag::APPROXIMATE;
        }
    }
}

impl Engine {
    /// Decides each transaction against the state as it is, and changes nothing.
    pub fn peek(&self, transactions: &[Transaction], model: Option<&Model>, out: &mut Output) {
        out.reset(transactions.len());
        out.flags.clear();
        let mut repeated: Vec<(usize, Earlier)> = Vec::new();
        for (row, transaction) in transactions.iter().enumerate() {
            let now = self.watermark.max(transaction.time);
            let late = transaction.time < now.window_start(self.config.lateness);
            let columns = &mut out.features[row * catalogue::WIDTH..(row + 1) * catalogue::WIDTH];
            let mut look = Look {
                transaction,
                context: self.context(),
                labels: self.pending.known_by(now).copied().collect(),
                columns,
                flags: if late { flag::LATE } else { 0 },
                earlier: None,
            };
            // Customers first: they know the repeated ids.
            look.at(&self.customers);
            look.at(&self.cards);
            look.at(&self.devices);
            look.at(&self.merchants);
            look.at(&self.ips);
            repeated.extend(look.earlier.map(|earlier| (row, earlier)));
            out.flags.push(look.flags);
        }
        if let Some(model) = model {
            score_and_decide(model, &Inline, out);
        }
        for (row, earlier) in repeated {
            (out.margin[row], out.anomaly[row]) = (f32::NAN, f32::NAN);
            (out.score[row], out.action[row]) = match earlier {
                Earlier::Decided { score, action } => (score, action),
                // Only within a batch under way, which nobody can look at.
                Earlier::InBatch(_) => (f32::NAN, Action::Review),
            };
        }
    }

    /// What the windows of a customer hold at the newest event time there was: the [`STANDING`] features with the
    /// catalogue's meaning, NaN where nothing is known. `None`: no such customer is kept.
    pub fn customer_windows(&self, customer: EntityKey) -> Option<[(&'static str, f32); STANDING.len()]> {
        self.customers.get(customer)?;
        // A transaction without values looks, and is taken off the counts again. Its id is nobody else's.
        let nothing = Transaction {
            id: EntityKey::from_hash(customer.get() ^ 0x9E37_79B9_7F4A_7C15),
            time: self.watermark,
            amount: AmountMinor(0),
            entities: [Some(customer), None, None, None, None],
            place: None,
            channel: None,
            category: None,
            country: None,
        };
        let mut out = Output::default();
        self.peek(&[nothing], None, &mut out);
        let mut found = STANDING.map(|name| {
            let column = catalogue::CUSTOMER.iter().position(|feature| feature.name == name);
            (name, column.map_or(f32::NAN, |column| out.features[column]))
        });
        found[..COUNTS].iter_mut().for_each(|(_, count)| *count -= 1.0);
        Some(found)
    }
}
