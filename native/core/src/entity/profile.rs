//! The state of each kind of entity, and how one transaction updates it and fills its feature columns.
//!
//! Every kind keeps the same [`Common`] part, cut to its plan; kinds differ in the tags whose distinct values they count
//! and in the columns they write. A customer adds habits, places and recent ids.

use super::habits::{HourHistogram, RecentCategories};
use super::place::{PlaceView, Places};
use super::plans::{CardPlan, CustomerPlan, DevicePlan, IpPlan, MerchantPlan};
use super::recent_ids::RecentIds;
use crate::event::{EntityKind, Label, Transaction};
use crate::feature::{Facts, HabitFacts, catalogue};
use crate::limits::{WINDOW_COUNT, WINDOW_MAX};
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::{DurationMicros, EntityKey};
use crate::window::{Entity, Event, EventLog, FraudLog, FraudView, KnownFraud, Plan, WindowView};

/// Constants of one run that features depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// How far behind the newest event of its entity a transaction may be and still enter the windows.
    pub lateness: DurationMicros,
    /// Minor units in a major unit of the reference currency.
    pub minor_per_major: f64,
}

impl Context {
    /// Of a run with this lateness bound, and a reference currency with this many digits after the decimal point.
    pub fn new(lateness: DurationMicros, minor_digits: u32) -> Self {
        Self { lateness, minor_per_major: 10_f64.powi(minor_digits as i32) }
    }
}

/// What every kind of entity keeps.
#[derive(Clone, Debug)]
pub struct Common<P: Plan> {
    /// Its recent events and their windows.
    pub log: EventLog<P>,
    /// Its known frauds; most entities have none.
    pub frauds: Option<Box<FraudLog>>,
    /// Time of the first event that arrived; `i64::MIN` before it.
    pub first_seen: i64,
}

impl<P: Plan> Default for Common<P> {
    fn default() -> Self {
        Self { log: EventLog::default(), frauds: None, first_seen: i64::MIN }
    }
}

impl<P: Plan> Common<P> {
    fn observe(&mut self, transaction: &Transaction, tags: [u32; 2], context: &Context) -> WindowView {
        if self.first_seen == i64::MIN {
            self.first_seen = transaction.time.0;
        }
        let event = Event { time: transaction.time.0, amount: transaction.amount.0, tags };
        self.log.observe(&event, context.lateness)
    }

    fn facts<'a>(
        &self,
        transaction: &'a Transaction,
        view: &'a WindowView,
        context: &Context,
        habits: HabitFacts,
    ) -> Facts<'a> {
        let now = transaction.time.0;
        let (mut frauds, mut since_fraud, mut fraud_span) = (FraudView::default(), 0, 0);
        if let Some(known) = &self.frauds {
            frauds = known.view(now);
            // Only logs that reach back to the widest window can tell how many events lie between.
            if P::WINDOWS.contains(&(WINDOW_COUNT - 1))
                && let Some(latest) = frauds.since_latest
            {
                let [start, latest] = [now - WINDOW_MAX.0, now - latest.0];
                let below = self.log.count_until(start.max(latest));
                since_fraud = self.log.count_until(now).saturating_sub(below);
                if let Some(earliest) = frauds.since_earliest {
                    let before = self.log.count_until(start.max(now - earliest.0 - 1));
                    fraud_span = below.saturating_sub(before);
                }
            }
        }
        Facts {
            transaction,
            view,
            frauds,
            since_fraud,
            fraud_span,
            age: DurationMicros((now - self.first_seen).max(0)),
            minor_per_major: context.minor_per_major,
            habits,
        }
    }

    fn learn(&mut self, label: &Label) {
        if self.frauds.is_none() && !label.is_fraud {
            return;
        }
        let fraud = KnownFraud {
            id: label.id,
            event_time: label.event_time.0,
            known_time: label.known_time.0,
            amount: label.amount.0,
        };
        let frauds = self.frauds.get_or_insert_with(Box::default);
        frauds.learn(fraud, label.is_fraud);
        if frauds.is_empty() {
            self.frauds = None;
        }
    }

    /// The newest of its events and of the reports of its frauds. A report counts because a fraud whose transaction was
    /// too late for the windows is all that is known of its entities.
    fn last_seen(&self) -> i64 {
        let reported = self.frauds.as_ref().and_then(|frauds| frauds.newest_report());
        self.log.newest().max(reported.unwrap_or(i64::MIN))
    }

    fn prefetch(&self) {
        self.log.prefetch();
        if let Some(frauds) = &self.frauds {
            // Waits for the log itself: few entities have one.
            frauds.prefetch();
        }
    }

    fn heap_bytes(&self) -> usize {
        self.log.heap_bytes() + self.frauds.as_ref().map_or(0, |frauds| frauds.heap_bytes())
    }
}

/// How one kind of entity takes part in the fold.
pub trait Profile: Entity + Clone + Send {
    /// The kind.
    const KIND: EntityKind;
    /// Its feature columns, in catalogue order.
    const COLUMNS: usize;

    /// Takes in a transaction and writes this kind's columns; returns whether a window was approximate.
    fn observe(&mut self, transaction: &Transaction, context: &Context, columns: &mut [f32]) -> bool;

    /// Takes in a label.
    fn learn(&mut self, label: &Label);

    /// Appends the entity to a snapshot.
    fn write(&self, out: &mut Writer);

    /// Takes an entity from a snapshot.
    fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError>;

    /// Recent transaction ids; only a customer has them.
    fn recent_ids(&mut self) -> Option<&mut RecentIds> {
        None
    }
}

/// What is kept of a customer beside the windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Habits {
    /// Hours of the day.
    pub hours: HourHistogram,
    /// Merchant categories.
    pub categories: RecentCategories,
    /// Places.
    pub places: Places,
    /// Recent transaction ids and their decisions.
    pub ids: RecentIds,
}

/// A customer: the only entity with habits.
#[derive(Clone, Debug, Default)]
pub struct CustomerState {
    common: Common<CustomerPlan>,
    habits: Habits,
}

fn fingerprint(key: Option<EntityKey>) -> u32 {
    key.map_or(0, EntityKey::fingerprint)
}

impl Entity for CustomerState {
    fn last_seen(&self) -> i64 {
        self.common.last_seen()
    }

    fn heap_bytes(&self) -> usize {
        self.common.heap_bytes()
    }

    fn prefetch(&self) {
        self.common.prefetch();
    }
}

impl Profile for CustomerState {
    const KIND: EntityKind = EntityKind::Customer;
    const COLUMNS: usize = catalogue::CUSTOMER.len();

    fn observe(&mut self, transaction: &Transaction, context: &Context, columns: &mut [f32]) -> bool {
        let tags = [
            fingerprint(transaction.entity(EntityKind::Merchant)),
            fingerprint(transaction.entity(EntityKind::Device)),
        ];
        let view = self.common.observe(transaction, tags, context);
        let habits = HabitFacts {
            hour_share: self.habits.hours.observe(transaction.time.0),
            category_new: self.habits.categories.observe(transaction.category),
            place: self.habits.places.observe(transaction.place, transaction.time.0),
        };
        let facts = self.common.facts(transaction, &view, context, habits);
        catalogue::write_customer(&facts, columns);
        view.approximate
    }

    fn learn(&mut self, label: &Label) {
        self.common.learn(label);
    }

    fn write(&self, out: &mut Writer) {
        self.common.write(out);
        self.habits.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { common: Common::read(input)?, habits: Habits::read(input)? })
    }

    fn recent_ids(&mut self) -> Option<&mut RecentIds> {
        Some(&mut self.habits.ids)
    }
}

/// Declares a kind of entity that keeps only the common part.
macro_rules! plain_profile {
    ($(#[$doc:meta])* $name:ident, $plan:ident, $kind:ident, $list:ident, $write:ident,
     |$transaction:ident| $tags:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            common: Common<$plan>,
        }

        impl Entity for $name {
            fn last_seen(&self) -> i64 {
                self.common.last_seen()
            }

            fn heap_bytes(&self) -> usize {
                self.common.heap_bytes()
            }

            fn prefetch(&self) {
                self.common.prefetch();
            }
        }

        impl Profile for $name {
            const KIND: EntityKind = EntityKind::$kind;
            const COLUMNS: usize = catalogue::$list.len();

            fn observe(&mut self, $transaction: &Transaction, context: &Context, columns: &mut [f32]) -> bool {
                let view = self.common.observe($transaction, $tags, context);
                let facts = self.common.facts($transaction, &view, context, HabitFacts::NONE);
                catalogue::$write(&facts, columns);
                view.approximate
            }

            fn learn(&mut self, label: &Label) {
                self.common.learn(label);
            }

            fn write(&self, out: &mut Writer) {
                self.common.write(out);
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
                Ok(Self { common: Common::read(input)? })
            }
        }
    };
}

plain_profile!(
    /// A card: counts merchants and countries.
    CardState, CardPlan, Card, CARD, write_card, |transaction| [
        fingerprint(transaction.entity(EntityKind::Merchant)),
        transaction.country.map_or(0, u32::from),
    ]
);
plain_profile!(
    /// A device: counts customers and cards.
    DeviceState, DevicePlan, Device, DEVICE, write_device, |transaction| [
        fingerprint(transaction.entity(EntityKind::Customer)),
        fingerprint(transaction.entity(EntityKind::Card)),
    ]
);
plain_profile!(
    /// A merchant: counts customers.
    MerchantState, MerchantPlan, Merchant, MERCHANT, write_merchant, |transaction| [
        fingerprint(transaction.entity(EntityKind::Customer)),
        0,
    ]
);
plain_profile!(
    /// An IP address: counts customers and devices.
    IpState, IpPlan, Ip, IP, write_ip, |transaction| [
        fingerprint(transaction.entity(EntityKind::Customer)),
        fingerprint(transaction.entity(EntityKind::Device)),
    ]
);

const _: () = assert!(WINDOW_COUNT == 5, "feature definitions name the windows by position");

impl HabitFacts {
    /// Of an entity without habits.
    pub const NONE: Self = Self { hour_share: f64::NAN, category_new: f64::NAN, place: PlaceView::NONE };
}
