//! Stage 1, DECODE: from outside values to a validated [`Transaction`] or [`Label`].
//!
//! [`RawTransaction`] borrows the values as they came, [`check`] turns them into the compact form the
//! windows read, or into the one [`Violation`] that names the field and the value. Nothing is coerced.

mod check;
mod currency;
mod shown;
mod violation;

pub use check::{RawLabel, RawTransaction, check, check_label, is_card_number};
pub use currency::{CurrencyCode, CurrencyTable, minor_digits};
pub use shown::may_hold_card_number;
pub use violation::{Field, Violation};

use crate::units::{AmountMinor, EntityKey, EventTimeMicros};

/// The kinds of entity that keep sliding windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntityKind {
    /// The account holder; the one entity every transaction has.
    Customer = 0,
    /// A payment card (a token, never its number).
    Card = 1,
    /// The device or browser a payment came from.
    Device = 2,
    /// The merchant or terminal that was paid.
    Merchant = 3,
    /// The IP address a payment came from.
    Ip = 4,
}

/// Number of entity kinds.
pub const ENTITY_KINDS: usize = 5;

impl EntityKind {
    /// All kinds, in the order of the feature columns.
    pub const ALL: [Self; ENTITY_KINDS] =
        [Self::Customer, Self::Card, Self::Device, Self::Merchant, Self::Ip];

    /// The name used in feature names and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Card => "card",
            Self::Device => "device",
            Self::Merchant => "merchant",
            Self::Ip => "ip",
        }
    }
}

/// How a payment was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Chip or magnetic stripe at a terminal.
    CardPresent = 0,
    /// Contactless at a terminal.
    Contactless = 1,
    /// On a web site or in an application.
    Ecommerce = 2,
    /// Mail or telephone order.
    Moto = 3,
    /// Cash withdrawal.
    Atm = 4,
    /// Account to account.
    Transfer = 5,
    /// Through a wallet.
    Wallet = 6,
}

impl Channel {
    /// Names as they appear in records, in the order of the codes.
    pub const NAMES: [&str; 7] =
        ["card_present", "contactless", "ecommerce", "moto", "atm", "transfer", "wallet"];

    /// Whether the payer stands at the merchant's, or at a cash machine.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::CardPresent | Self::Contactless | Self::Atm)
    }

    /// The channel of a name, if it is one.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "card_present" => Self::CardPresent,
            "contactless" => Self::Contactless,
            "ecommerce" => Self::Ecommerce,
            "moto" => Self::Moto,
            "atm" => Self::Atm,
            "transfer" => Self::Transfer,
            "wallet" => Self::Wallet,
            _ => return None,
        })
    }
}

/// Where a transaction happened, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// North of the equator, -90 to 90.
    pub latitude: f32,
    /// East of Greenwich, -180 to 180.
    pub longitude: f32,
}

/// One validated transaction, in the form the windows read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transaction {
    /// Key of the transaction id.
    pub id: EntityKey,
    /// When it happened.
    pub time: EventTimeMicros,
    /// The amount, zero or more, in minor units of the reference currency.
    pub amount: AmountMinor,
    /// The entities it belongs to, by [`EntityKind`]; the customer is always there.
    pub entities: [Option<EntityKey>; ENTITY_KINDS],
    /// Where it happened.
    pub place: Option<Place>,
    /// How it was made.
    pub channel: Option<Channel>,
    /// ISO 18245 merchant category code.
    pub category: Option<u16>,
    /// ISO 3166 alpha-2 code packed to 1..=676.
    pub country: Option<u16>,
}

impl Transaction {
    /// The key of one of its entities.
    pub const fn entity(&self, kind: EntityKind) -> Option<EntityKey> {
        self.entities[kind as usize]
    }
}

/// What is known about an earlier transaction, from the moment it is known.
///
/// A label carries the keys and the event time of its transaction, since the engine does not keep
/// every past id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Key of the transaction id the verdict is about.
    pub id: EntityKey,
    /// When that transaction happened.
    pub event_time: EventTimeMicros,
    /// When the verdict arrived; it changes nothing before.
    pub known_time: EventTimeMicros,
    /// Whether the transaction was fraud. A later label for the same id corrects an earlier one.
    pub is_fraud: bool,
    /// The transaction's amount.
    pub amount: AmountMinor,
    /// The entities of that transaction.
    pub entities: [Option<EntityKey>; ENTITY_KINDS],
}
