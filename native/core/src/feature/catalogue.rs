//! THE ordered list of features: name, group, window, unit, meaning and formula, each in one place.
//!
//! The order is the order of the matrix columns. [`hash`] covers everything that gives a value its
//! meaning; a model bundle carries it, and a bundle with another hash is refused. A changed formula must
//! change [`VERSION`].
//!
//! Windows are `(t - w, t]` and include the transaction itself unless the meaning says "earlier".

use super::facts::Facts;
use crate::event::EntityKind;
use crate::limits::{self, D7, D30, H1, H24, M10};

/// Version of the formulas; part of the hash.
pub const VERSION: u32 = 1;

/// What a feature tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The transaction itself.
    Transaction,
    /// How often and how much.
    Velocity,
    /// This amount against the entity's own history.
    Amount,
    /// First times, and how many different counterparts.
    Novelty,
    /// Where and when.
    PlaceTime,
    /// What labels that have arrived tell.
    KnownRisk,
}

impl Group {
    /// The group's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Velocity => "velocity",
            Self::Amount => "amount",
            Self::Novelty => "novelty",
            Self::PlaceTime => "place_time",
            Self::KnownRisk => "known_risk",
        }
    }
}

/// One column of the feature matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Unique name.
    pub name: &'static str,
    /// Entity whose state it reads; the transaction's own values count as the customer's.
    pub entity: EntityKind,
    /// Group.
    pub group: Group,
    /// Window, or `-`.
    pub window: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Meaning.
    pub meaning: &'static str,
}

/// Defines the columns of one entity kind: the list and the function that writes them.
macro_rules! features {
    (
        $(#[$doc:meta])* $list:ident, $write:ident, $entity:ident:
        $( $name:ident $group:ident $window:literal $unit:literal $meaning:literal = |$facts:ident| $value:expr; )+
    ) => {
        $(#[$doc])*
        pub const $list: &[Feature] = &[ $( Feature {
            name: stringify!($name),
            entity: EntityKind::$entity,
            group: Group::$group,
            window: $window,
            unit: $unit,
            meaning: $meaning,
        } ),+ ];

        /// Writes the columns of the list of the same entity, in its order.
        pub fn $write(facts: &Facts<'_>, columns: &mut [f32]) {
            debug_assert_eq!(columns.len(), $list.len());
            let values = [ $( { let $facts = facts; $value as f32 } ),+ ];
            columns.copy_from_slice(&values);
        }
    };
}

features! {
    /// The transaction itself, then its customer.
    CUSTOMER, write_customer, Customer:
    amount Transaction "-" "major units" "Amount of the transaction." = |f| f.amount();
    hour_of_day PlaceTime "-" "hours" "Hour of the day in UTC with its fraction, 0 to 24." = |f| f.hour();
    day_of_week PlaceTime "-" "days" "Day of the week in UTC, 0 for Monday." = |f| f.weekday();
    is_weekend PlaceTime "-" "0 or 1" "Saturday or Sunday in UTC." = |f| f64::from(u8::from(f.weekday() >= 5.0));
    is_night PlaceTime "-" "0 or 1" "Before 06:00 in UTC." = |f| f64::from(u8::from(f.hour() < 6.0));
    channel Transaction "-" "code" "Channel: 0 card_present, 1 contactless, 2 ecommerce, 3 moto, 4 atm, 5 transfer, 6 wallet." = |f| f.transaction.channel.map_or(f64::NAN, |channel| f64::from(channel as u8));
    merchant_category Transaction "-" "code" "ISO 18245 merchant category code." = |f| f.transaction.category.map_or(f64::NAN, f64::from);
    customer_count_10m Velocity "10m" "transactions" "Transactions of the customer." = |f| f.count(M10);
    customer_count_1h Velocity "1h" "transactions" "Transactions of the customer." = |f| f.count(H1);
    customer_count_24h Velocity "24h" "transactions" "Transactions of the customer." = |f| f.count(H24);
    customer_count_7d Velocity "7d" "transactions" "Transactions of the customer." = |f| f.count(D7);
    customer_count_30d Velocity "30d" "transactions" "Transactions of the customer." = |f| f.count(D30);
    customer_sum_1h Velocity "1h" "major units" "Money spent by the customer." = |f| f.sum(H1);
    customer_sum_24h Velocity "24h" "major units" "Money spent by the customer." = |f| f.sum(H24);
    customer_sum_7d Velocity "7d" "major units" "Money spent by the customer." = |f| f.sum(D7);
    customer_sum_30d Velocity "30d" "major units" "Money spent by the customer." = |f| f.sum(D30);
    customer_hours_since_last Velocity "-" "hours" "Time since the customer's previous transaction." = |f| f.hours_since_last();
    customer_mean_30d Amount "30d" "major units" "Mean of the customer's earlier amounts." = |f| f.prior_mean(D30);
    customer_deviation_30d Amount "30d" "major units" "Standard deviation of the customer's earlier amounts." = |f| f.prior_deviation();
    customer_zscore_30d Amount "30d" "deviations" "Distance of the amount from the customer's earlier mean." = |f| f.z_score();
    customer_ratio_mean_7d Amount "7d" "ratio" "Amount over the mean of the customer's earlier amounts." = |f| f.ratio_to_mean(D7);
    customer_ratio_mean_30d Amount "30d" "ratio" "Amount over the mean of the customer's earlier amounts." = |f| f.ratio_to_mean(D30);
    customer_ratio_max_24h Amount "24h" "ratio" "Amount over the customer's largest earlier amount." = |f| f.ratio_to_max(0);
    customer_ratio_max_30d Amount "30d" "ratio" "Amount over the customer's largest earlier amount." = |f| f.ratio_to_max(1);
    customer_ratio_min_30d Amount "30d" "ratio" "Amount over the customer's smallest earlier amount." = |f| f.ratio_to_min(1);
    customer_merchant_seen_30d Novelty "30d" "transactions" "Earlier transactions of the customer at this merchant." = |f| f.seen(0);
    customer_device_seen_30d Novelty "30d" "transactions" "Earlier transactions of the customer from this device." = |f| f.seen(1);
    customer_merchants_24h Novelty "24h" "merchants" "Different merchants paid by the customer." = |f| f.distinct(0, 1);
    customer_merchants_7d Novelty "7d" "merchants" "Different merchants paid by the customer." = |f| f.distinct(0, 2);
    customer_devices_7d Novelty "7d" "devices" "Different devices used by the customer." = |f| f.distinct(1, 2);
    customer_category_new Novelty "-" "0 or 1" "The category is not among the customer's last eight." = |f| f.habits.category_new;
    customer_age_days Novelty "-" "days" "Time since the customer was first seen." = |f| f.age.days();
    customer_distance_last_km PlaceTime "-" "km" "Distance from the customer's previous located transaction." = |f| f.habits.place.distance_last_km;
    customer_speed_kmh PlaceTime "-" "km/h" "Speed needed from the customer's previous located transaction." = |f| f.habits.place.speed_kmh;
    customer_distance_home_km PlaceTime "-" "km" "Distance from the customer's usual place." = |f| f.habits.place.distance_home_km;
    customer_hour_share PlaceTime "-" "share" "Share of the customer's earlier transactions within an hour of this hour." = |f| f.habits.hour_share;
    customer_frauds_30d KnownRisk "30d" "frauds" "Frauds of the customer reported." = |f| f.reported(2);
    customer_days_since_fraud KnownRisk "-" "days" "Time since the customer's latest known fraud happened." = |f| Facts::days(f.frauds.since_latest);
}

features! {
    /// The card.
    CARD, write_card, Card:
    card_count_1h Velocity "1h" "transactions" "Transactions of the card." = |f| f.count(H1);
    card_count_24h Velocity "24h" "transactions" "Transactions of the card." = |f| f.count(H24);
    card_sum_24h Velocity "24h" "major units" "Money spent with the card." = |f| f.sum(H24);
    card_merchants_24h Novelty "24h" "merchants" "Different merchants paid with the card." = |f| f.distinct(0, 1);
    card_country_seen_30d Novelty "30d" "transactions" "Earlier transactions of the card in this country." = |f| f.seen(1);
    card_countries_7d Novelty "7d" "countries" "Different countries the card was used in." = |f| f.distinct(1, 2);
    card_frauds_30d KnownRisk "30d" "frauds" "Frauds of the card reported." = |f| f.reported(2);
}

features! {
    /// The device.
    DEVICE, write_device, Device:
    device_count_1h Velocity "1h" "transactions" "Transactions from the device." = |f| f.count(H1);
    device_count_24h Velocity "24h" "transactions" "Transactions from the device." = |f| f.count(H24);
    device_customers_24h Novelty "24h" "customers" "Different customers on the device." = |f| f.distinct(0, 1);
    device_customers_7d Novelty "7d" "customers" "Different customers on the device." = |f| f.distinct(0, 2);
    device_cards_24h Novelty "24h" "cards" "Different cards on the device." = |f| f.distinct(1, 1);
    device_age_days Novelty "-" "days" "Time since the device was first seen." = |f| f.age.days();
    device_frauds_30d KnownRisk "30d" "frauds" "Frauds from the device reported." = |f| f.reported(2);
}

features! {
    /// The merchant.
    MERCHANT, write_merchant, Merchant:
    merchant_count_1h Velocity "1h" "transactions" "Transactions at the merchant." = |f| f.count(H1);
    merchant_count_24h Velocity "24h" "transactions" "Transactions at the merchant." = |f| f.count(H24);
    merchant_count_7d Velocity "7d" "transactions" "Transactions at the merchant." = |f| f.count(D7);
    merchant_count_30d Velocity "30d" "transactions" "Transactions at the merchant." = |f| f.count(D30);
    merchant_mean_30d Amount "30d" "major units" "Mean of the merchant's earlier amounts." = |f| f.prior_mean(D30);
    merchant_ratio_mean_30d Amount "30d" "ratio" "Amount over the mean of the merchant's earlier amounts." = |f| f.ratio_to_mean(D30);
    merchant_zscore_30d Amount "30d" "deviations" "Distance of the amount from the merchant's earlier mean." = |f| f.z_score();
    merchant_customers_24h Novelty "24h" "customers" "Different customers at the merchant." = |f| f.distinct(0, 1);
    merchant_frauds_24h KnownRisk "24h" "frauds" "Frauds at the merchant reported." = |f| f.reported(0);
    merchant_frauds_7d KnownRisk "7d" "frauds" "Frauds at the merchant reported." = |f| f.reported(1);
    merchant_frauds_30d KnownRisk "30d" "frauds" "Frauds at the merchant reported." = |f| f.reported(2);
    merchant_frauds_happened_30d KnownRisk "30d" "frauds" "Known frauds at the merchant by the time they happened." = |f| f64::from(f.frauds.happened);
    merchant_fraud_rate_30d KnownRisk "30d" "share" "Known frauds at the merchant over all its transactions." = |f| f.fraud_rate();
    merchant_fraud_span_share KnownRisk "30d" "share" "Known frauds over all transactions of the merchant from the earliest of them to the latest." = |f| f.fraud_span_share();
    merchant_count_since_fraud KnownRisk "30d" "transactions" "Transactions at the merchant since its latest known fraud happened." = |f| f.count_since_fraud();
    merchant_days_since_first_fraud_30d KnownRisk "30d" "days" "Time since the earliest known fraud at the merchant happened." = |f| Facts::days(f.frauds.since_earliest);
    merchant_fraud_mean_30d KnownRisk "30d" "major units" "Mean amount of the known frauds at the merchant." = |f| f.fraud_mean();
    merchant_ratio_fraud_mean_30d KnownRisk "30d" "ratio" "Amount over the mean amount of the known frauds at the merchant." = |f| f.ratio_to(f.fraud_mean());
    merchant_days_since_fraud KnownRisk "-" "days" "Time since the latest known fraud at the merchant happened." = |f| Facts::days(f.frauds.since_latest);
}

features! {
    /// The IP address.
    IP, write_ip, Ip:
    ip_count_1h Velocity "1h" "transactions" "Transactions from the IP address." = |f| f.count(H1);
    ip_count_24h Velocity "24h" "transactions" "Transactions from the IP address." = |f| f.count(H24);
    ip_customers_24h Novelty "24h" "customers" "Different customers at the IP address." = |f| f.distinct(0, 1);
    ip_devices_24h Novelty "24h" "devices" "Different devices at the IP address." = |f| f.distinct(1, 1);
    ip_frauds_30d KnownRisk "30d" "frauds" "Frauds from the IP address reported." = |f| f.reported(2);
}

/// The lists in column order.
pub const LISTS: [&[Feature]; 5] = [CUSTOMER, CARD, DEVICE, MERCHANT, IP];

/// Number of columns.
pub const WIDTH: usize = CUSTOMER.len() + CARD.len() + DEVICE.len() + MERCHANT.len() + IP.len();

/// First column of an entity kind.
pub const fn first_column(kind: EntityKind) -> usize {
    let mut first = 0;
    let mut at = 0;
    while at < kind as usize {
        first += LISTS[at].len();
        at += 1;
    }
    first
}

/// All features in column order.
pub fn all() -> impl Iterator<Item = &'static Feature> {
    LISTS.into_iter().flatten()
}

/// Hash of everything that gives the values their meaning, as 32 hexadecimal digits.
pub fn hash() -> String {
    let mut text = format!(
        "v{VERSION} windows {:?} exact {} panes {} ids {} categories {} frauds {}\n",
        limits::WINDOWS,
        limits::EXACT_EVENTS_MAX,
        limits::PANES_PER_WINDOW,
        limits::RECENT_IDS_MAX,
        limits::RECENT_CATEGORIES_MAX,
        limits::KNOWN_FRAUDS_MAX,
    );
    for feature in all() {
        let line = [feature.name, feature.entity.name(), feature.window, feature.unit, feature.meaning];
        text.push_str(&line.join("|"));
        text.push('\n');
    }
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_start_with_their_entity() {
        let names: HashSet<_> = all().map(|feature| feature.name).collect();
        assert_eq!(names.len(), WIDTH);
        for feature in all().filter(|feature| feature.entity != EntityKind::Customer) {
            assert!(feature.name.starts_with(feature.entity.name()), "{}", feature.name);
        }
    }

    #[test]
    fn there_are_enough_features_of_every_group_and_entity() {
        const { assert!(WIDTH >= 40) };
        for group in ["transaction", "velocity", "amount", "novelty", "place_time", "known_risk"] {
            assert!(all().any(|feature| feature.group.name() == group), "{group}");
        }
        assert_eq!(first_column(EntityKind::Ip) + IP.len(), WIDTH);
        assert!(LISTS.iter().all(|list| !list.is_empty()));
    }

    #[test]
    fn the_hash_is_stable_within_a_build() {
        assert_eq!(hash(), hash());
        assert_eq!(hash().len(), 32);
    }
}
