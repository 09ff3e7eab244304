//! The records of `decisions`, `alerts` and `dead-letter` as `proto/fraudengine/v1/log.proto` defines them.
//!
//! The writers of the hot path append the same bytes by hand (`encode`); readers use these types. A test
//! holds both against the definition.

/// How a payment was made, by its number on the wire; 0 is not known.
pub const CHANNELS: [&str; 8] =
    ["", "card_present", "contactless", "ecommerce", "moto", "atm", "transfer", "wallet"];

/// `fraudengine.v1.Transaction`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "each field is the schema's field of the same name")]
pub struct Transaction {
    #[prost(string, tag = "1")]
    pub transaction_id: String,
    #[prost(int64, tag = "2")]
    pub event_time_micros: i64,
    #[prost(string, tag = "3")]
    pub customer_id: String,
    #[prost(string, optional, tag = "4")]
    pub card_id: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub device_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub merchant_id: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub ip_address: Option<String>,
    #[prost(int64, optional, tag = "8")]
    pub amount_minor: Option<i64>,
    #[prost(string, optional, tag = "9")]
    pub currency: Option<String>,
    #[prost(int32, optional, tag = "10")]
    pub channel: Option<i32>,
    #[prost(int32, optional, tag = "11")]
    pub merchant_category: Option<i32>,
    #[prost(string, optional, tag = "12")]
    pub country: Option<String>,
    #[prost(double, optional, tag = "13")]
    pub latitude: Option<f64>,
    #[prost(double, optional, tag = "14")]
    pub longitude: Option<f64>,
}

/// `fraudengine.v1.Label`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "each field is the schema's field of the same name")]
pub struct Label {
    #[prost(string, tag = "1")]
    pub transaction_id: String,
    #[prost(int64, tag = "2")]
    pub event_time_micros: i64,
    #[prost(string, tag = "3")]
    pub customer_id: String,
    #[prost(string, optional, tag = "4")]
    pub card_id: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub device_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub merchant_id: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub ip_address: Option<String>,
    #[prost(int64, optional, tag = "8")]
    pub amount_minor: Option<i64>,
    #[prost(string, optional, tag = "9")]
    pub currency: Option<String>,
    /// 1 legitimate, 2 fraud.
    #[prost(int32, tag = "10")]
    pub is_fraud: i32,
    #[prost(int64, tag = "11")]
    pub label_known_time_micros: i64,
    #[prost(string, optional, tag = "12")]
    pub typology: Option<String>,
}

/// `fraudengine.v1.Reason`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reason {
    /// Name of the feature.
    #[prost(string, tag = "1")]
    pub feature: String,
    /// Its value; unset when missing.
    #[prost(float, optional, tag = "2")]
    pub value: Option<f32>,
    /// How much it moved the margin.
    #[prost(float, tag = "3")]
    pub contribution: f32,
}

/// `fraudengine.v1.DecisionRecord`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "each field is documented in log.proto")]
pub struct DecisionRecord {
    #[prost(message, optional, tag = "1")]
    pub transaction: Option<Transaction>,
    #[prost(float, tag = "2")]
    pub score: f32,
    #[prost(float, tag = "3")]
    pub anomaly: f32,
    /// 1 approve, 2 review, 3 block.
    #[prost(int32, tag = "4")]
    pub action: i32,
    #[prost(message, repeated, tag = "5")]
    pub reasons: Vec<Reason>,
    #[prost(uint32, tag = "6")]
    pub flags: u32,
    #[prost(int32, tag = "7")]
    pub source_partition: i32,
    #[prost(int64, tag = "8")]
    pub source_offset: i64,
    #[prost(int64, tag = "9")]
    pub source_time_micros: i64,
    #[prost(int64, tag = "10")]
    pub decided_time_micros: i64,
    #[prost(fixed64, tag = "11")]
    pub model: u64,
    #[prost(fixed64, tag = "12")]
    pub catalogue: u64,
    #[prost(int64, tag = "13")]
    pub generation: i64,
    #[prost(int64, tag = "14")]
    pub label_offset: i64,
    #[prost(float, repeated, tag = "15")]
    pub features: Vec<f32>,
    #[prost(fixed64, tag = "16")]
    pub owner: u64,
}

/// `fraudengine.v1.DeadLetterReason`: why a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[allow(missing_docs, reason = "each variant is documented in log.proto")]
pub enum DeadLetterReason {
    Unspecified = 0,
    Malformed = 1,
    Invalid = 2,
    TooLarge = 3,
    TimeAhead = 4,
    Poison = 5,
}

/// `fraudengine.v1.DeadLetter`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "each field is documented in log.proto")]
pub struct DeadLetter {
    #[prost(int32, tag = "1")]
    pub reason: i32,
    #[prost(string, tag = "2")]
    pub detail: String,
    #[prost(string, tag = "3")]
    pub source_topic: String,
    #[prost(int32, tag = "4")]
    pub source_partition: i32,
    #[prost(int64, tag = "5")]
    pub source_offset: i64,
    #[prost(int64, tag = "6")]
    pub source_time_micros: i64,
    #[prost(uint32, tag = "7")]
    pub length: u32,
    #[prost(fixed64, tag = "8")]
    pub keyed_hash: u64,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw: Option<Vec<u8>>,
    #[prost(int64, tag = "10")]
    pub generation: i64,
    #[prost(fixed64, tag = "11")]
    pub owner: u64,
}
