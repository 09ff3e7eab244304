//! The ways a record can break the schema: one variant each, naming field and value.

use thiserror::Error;

use super::shown::number;

/// A field of the transaction schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the field of the same name in the schema")]
pub enum Field {
    TransactionId,
    EventTime,
    CustomerId,
    CardId,
    DeviceId,
    MerchantId,
    IpAddress,
    Amount,
    Currency,
    Channel,
    MerchantCategory,
    Country,
    Latitude,
    Longitude,
    KnownTime,
    Typology,
}

impl Field {
    /// The column name in every twin of the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TransactionId => "transaction_id",
            Self::EventTime => "event_time",
            Self::CustomerId => "customer_id",
            Self::CardId => "card_id",
            Self::DeviceId => "device_id",
            Self::MerchantId => "merchant_id",
            Self::IpAddress => "ip_address",
            Self::Amount => "amount_minor",
            Self::Currency => "currency",
            Self::Channel => "channel",
            Self::MerchantCategory => "merchant_category",
            Self::Country => "country",
            Self::Latitude => "latitude",
            Self::Longitude => "longitude",
            Self::KnownTime => "known_time",
            Self::Typology => "typology",
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a record was refused. The value is part of the message, except where it may be a card number.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Violation {
    /// A required field has no value.
    #[error("{0} is required and missing")]
    Missing(Field),
    /// An identifier is the empty string.
    #[error("{0} is empty")]
    Empty(Field),
    /// An identifier has more bytes than allowed.
    #[error("{field} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// The field.
        field: Field,
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An identifier contains a control character.
    #[error("{0} contains a control character")]
    ControlCharacter(Field),
    /// The value looks like a card number, which must never reach the engine.
    #[error("{0} looks like a card number; send a token instead")]
    CardNumber(Field),
    /// The event or label time is outside the accepted years.
    #[error("{field} is {} us since 1970, outside 2000-01-01 to 2100-01-01", number(.micros))]
    TimeOutOfRange {
        /// The field.
        field: Field,
        /// Its value.
        micros: i64,
    },
    /// The amount is negative; zero is an account verification.
    #[error("amount_minor is {}, must not be negative", number(.0))]
    AmountNegative(i64),
    /// The amount is above the limit.
    #[error("amount_minor is {}, above the limit of {max}", number(.amount))]
    AmountTooLarge {
        /// Its value in minor units.
        amount: i64,
        /// The limit.
        max: i64,
    },
    /// The currency is not three capital letters.
    #[error("currency is {0:?}, must be an ISO 4217 code")]
    CurrencyMalformed(String),
    /// There is no exchange rate from this currency to the reference currency.
    #[error("currency {currency} has no exchange rate to the reference currency {reference}")]
    CurrencyWithoutRate {
        /// The record's currency.
        currency: String,
        /// The engine's reference currency.
        reference: String,
    },
    /// The channel is not one of the known names.
    #[error(
        "channel is {0:?}, must be one of card_present, contactless, ecommerce, moto, atm, transfer, wallet"
    )]
    ChannelUnknown(String),
    /// The merchant category code is outside 0 to 9999.
    #[error("merchant_category is {}, must be 0 to 9999", number(.0))]
    CategoryOutOfRange(i64),
    /// The country is not two capital letters.
    #[error("country is {0:?}, must be an ISO 3166 alpha-2 code")]
    CountryMalformed(String),
    /// A coordinate is not a number or outside its range.
    #[error("{field} is {}, must be within -{max} to {max} degrees", number(.value))]
    CoordinateOutOfRange {
        /// Latitude or longitude.
        field: Field,
        /// Its value in degrees.
        value: f64,
        /// The limit in degrees.
        max: f64,
    },
    /// Only one of latitude and longitude has a value.
    #[error("{missing} is missing although the other coordinate has a value")]
    CoordinateMissing {
        /// The coordinate without a value.
        missing: Field,
    },
    /// A label is known before its transaction happened.
    #[error("known_time is {known_micros} us since 1970, before the event at {event_micros} us")]
    KnownBeforeEvent {
        /// When the label was known.
        known_micros: i64,
        /// When the transaction happened.
        event_micros: i64,
    },
}

impl Violation {
    /// The field at fault.
    pub const fn field(&self) -> Field {
        match self {
            Self::Missing(field)
            | Self::Empty(field)
            | Self::TooLong { field, .. }
            | Self::ControlCharacter(field)
            | Self::CardNumber(field)
            | Self::TimeOutOfRange { field, .. }
            | Self::CoordinateOutOfRange { field, .. }
            | Self::CoordinateMissing { missing: field } => *field,
            Self::AmountNegative(_) | Self::AmountTooLarge { .. } => Field::Amount,
            Self::CurrencyMalformed(_) | Self::CurrencyWithoutRate { .. } => Field::Currency,
            Self::ChannelUnknown(_) => Field::Channel,
            Self::CategoryOutOfRange(_) => Field::MerchantCategory,
            Self::CountryMalformed(_) => Field::Country,
            Self::KnownBeforeEvent { .. } => Field::KnownTime,
        }
    }

    /// A stable code for counters and dead letters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Empty(_) => "empty",
            Self::TooLong { .. } => "too_long",
            Self::ControlCharacter(_) => "control_character",
            Self::CardNumber(_) => "card_number",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::AmountNegative(_) => "amount_negative",
            Self::AmountTooLarge { .. } => "amount_too_large",
            Self::CurrencyMalformed(_) => "currency_malformed",
            Self::CurrencyWithoutRate { .. } => "currency_without_rate",
            Self::ChannelUnknown(_) => "channel_unknown",
            Self::CategoryOutOfRange(_) => "category_out_of_range",
            Self::CountryMalformed(_) => "country_malformed",
            Self::CoordinateOutOfRange { .. } => "coordinate_out_of_range",
            Self::CoordinateMissing { .. } => "coordinate_missing",
            Self::KnownBeforeEvent { .. } => "known_before_event",
        }
    }
}
