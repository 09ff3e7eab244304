//! One synthetic record, in integers.

use fraudengine_core::event::Channel;

/// What really happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Typology {
    /// No fraud.
    Genuine = 0,
    /// Stolen card numbers tried with small amounts at one shop; some then used for a large purchase.
    CardTesting = 1,
    /// Somebody else pays from a customer's account, on a new device.
    AccountTakeover = 2,
    /// A stolen card used far from its owner.
    StolenCard = 3,
    /// Cards copied at one merchant, over weeks.
    CompromisedMerchant = 4,
    /// One device that pays for many customers.
    DeviceFarm = 5,
    /// Many deceived customers transfer to one account.
    MuleFanIn = 6,
    /// Small payments by night over weeks.
    SlowDraining = 7,
    /// The customer disputes a payment of their own: nothing tells it from a genuine one.
    FriendlyFraud = 8,
}

impl Typology {
    /// Names in the order of the codes.
    pub const NAMES: [&str; 9] = [
        "genuine",
        "card_testing",
        "account_takeover",
        "stolen_card",
        "compromised_merchant",
        "device_farm",
        "mule_fan_in",
        "slow_draining",
        "friendly_fraud",
    ];
}

/// One transaction. Zero stands for an absent card, device or IP address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Number of the transaction; unique.
    pub number: u64,
    /// Event time, microseconds since 1970.
    pub time: i64,
    /// When the record arrives, microseconds since 1970.
    pub arrival: i64,
    /// When its label is known, microseconds since 1970.
    pub known: i64,
    /// Customer number, from 1.
    pub customer: u32,
    /// Card number.
    pub card: u64,
    /// Device number.
    pub device: u64,
    /// IP number.
    pub ip: u64,
    /// Merchant number, from 1.
    pub merchant: u32,
    /// Amount in cents.
    pub amount: i64,
    /// Channel.
    pub channel: Channel,
    /// Merchant category code.
    pub category: u16,
    /// Position in [`CITIES`](crate::CITIES) whose country it happened in.
    pub city: u8,
    /// Degrees north; NaN where there is no place.
    pub latitude: f32,
    /// Degrees east; NaN where there is no place.
    pub longitude: f32,
    /// What really happened.
    pub typology: Typology,
    /// What the label says.
    pub label: bool,
}
