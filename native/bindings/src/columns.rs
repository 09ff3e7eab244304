//! Arrow columns as raw transactions and labels, without copying any text.
//!
//! A column that is absent from the frame is an absent field of every row. Which types are accepted is
//! written here; anything else is a `SchemaError` that names the column.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use fraudengine_core::event::{RawLabel, RawTransaction};
use pyo3::PyResult;

use crate::error::{Kind, to_py_err};

/// A column of texts in any of the three Arrow layouts.
enum Text {
    Small(arrow_array::StringArray),
    Large(arrow_array::LargeStringArray),
    View(arrow_array::StringViewArray),
}

impl Text {
    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

fn wrong_type(name: &str, found: &DataType, expected: &str) -> pyo3::PyErr {
    to_py_err(Kind::Schema, format!("column {name} has type {found}, expected {expected}"))
}

fn text(batch: &RecordBatch, name: &str) -> PyResult<Option<Text>> {
    let Some(array) = batch.column_by_name(name) else { return Ok(None) };
    Ok(match array.data_type() {
        DataType::Utf8 => Some(Text::Small(array.as_string().clone())),
        DataType::LargeUtf8 => Some(Text::Large(array.as_string().clone())),
        DataType::Utf8View => Some(Text::View(array.as_string_view().clone())),
        DataType::Null => None,
        other => return Err(wrong_type(name, other, "string")),
    })
}

/// A column of numbers of one Arrow type.
struct Numbers<T: arrow_array::ArrowPrimitiveType>(arrow_array::PrimitiveArray<T>);

impl<T: arrow_array::ArrowPrimitiveType> Numbers<T> {
    fn get(&self, row: usize) -> Option<T::Native> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

fn numbers<T: arrow_array::ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    expected: &str,
    fits: fn(&DataType) -> bool,
) -> PyResult<Option<Numbers<T>>> {
    let Some(array): Option<&ArrayRef> = batch.column_by_name(name) else { return Ok(None) };
    match array.data_type() {
        DataType::Null => Ok(None),
        found if fits(found) => Ok(Some(Numbers(array.as_primitive::<T>().clone()))),
        found => Err(wrong_type(name, found, expected)),
    }
}

fn times(batch: &RecordBatch, name: &str) -> PyResult<Option<Numbers<TimestampMicrosecondType>>> {
    numbers(batch, name, "timestamp in microseconds, UTC", |found| {
        matches!(found, DataType::Timestamp(TimeUnit::Microsecond, _))
    })
}

fn floats(batch: &RecordBatch, name: &str) -> PyResult<Option<Numbers<Float64Type>>> {
    numbers(batch, name, "float64", |found| *found == DataType::Float64)
}

/// The transaction columns of one record batch.
pub struct TransactionColumns {
    transaction_id: Option<Text>,
    event_time: Option<Numbers<TimestampMicrosecondType>>,
    customer_id: Option<Text>,
    card_id: Option<Text>,
    device_id: Option<Text>,
    merchant_id: Option<Text>,
    ip_address: Option<Text>,
    amount_minor: Option<Numbers<Int64Type>>,
    currency: Option<Text>,
    channel: Option<Text>,
    merchant_category: Option<Numbers<Int32Type>>,
    country: Option<Text>,
    latitude: Option<Numbers<Float64Type>>,
    longitude: Option<Numbers<Float64Type>>,
}

impl TransactionColumns {
    /// Takes the known columns of a batch; unknown ones are ignored.
    pub fn new(batch: &RecordBatch) -> PyResult<Self> {
        let columns = Self {
            transaction_id: text(batch, "transaction_id")?,
            event_time: times(batch, "event_time")?,
            customer_id: text(batch, "customer_id")?,
            card_id: text(batch, "card_id")?,
            device_id: text(batch, "device_id")?,
            merchant_id: text(batch, "merchant_id")?,
            ip_address: text(batch, "ip_address")?,
            amount_minor: numbers(batch, "amount_minor", "int64", |found| *found == DataType::Int64)?,
            currency: text(batch, "currency")?,
            channel: text(batch, "channel")?,
            merchant_category: numbers(batch, "merchant_category", "int32", |found| {
                *found == DataType::Int32
            })?,
            country: text(batch, "country")?,
            latitude: floats(batch, "latitude")?,
            longitude: floats(batch, "longitude")?,
        };
        let required = [
            ("transaction_id", columns.transaction_id.is_some()),
            ("event_time", columns.event_time.is_some()),
            ("customer_id", columns.customer_id.is_some()),
            ("amount_minor", columns.amount_minor.is_some()),
        ];
        match required.iter().find(|(_, there)| !there) {
            Some((name, _)) => Err(to_py_err(Kind::Schema, format!("required column {name} is missing"))),
            None => Ok(columns),
        }
    }

    /// One row.
    pub fn row(&self, row: usize) -> RawTransaction<'_> {
        fn of(column: Option<&Text>, row: usize) -> Option<&str> {
            column.and_then(|column| column.get(row))
        }
        RawTransaction {
            transaction_id: of(self.transaction_id.as_ref(), row),
            event_time_micros: self.event_time.as_ref().and_then(|column| column.get(row)),
            customer_id: of(self.customer_id.as_ref(), row),
            card_id: of(self.card_id.as_ref(), row),
            device_id: of(self.device_id.as_ref(), row),
            merchant_id: of(self.merchant_id.as_ref(), row),
            ip_address: of(self.ip_address.as_ref(), row),
            amount_minor: self.amount_minor.as_ref().and_then(|column| column.get(row)),
            currency: of(self.currency.as_ref(), row),
            channel: of(self.channel.as_ref(), row),
            merchant_category: self.merchant_category.as_ref().and_then(|c| c.get(row)).map(i64::from),
            country: of(self.country.as_ref(), row),
            latitude: self.latitude.as_ref().and_then(|column| column.get(row)),
            longitude: self.longitude.as_ref().and_then(|column| column.get(row)),
        }
    }
}

/// The label columns of one record batch: a transaction's columns, `known_time`, `is_fraud` and `typology`.
pub struct LabelColumns {
    transaction: TransactionColumns,
    known_time: Numbers<TimestampMicrosecondType>,
    is_fraud: Numbers<Int8Type>,
    typology: Option<Text>,
}

impl LabelColumns {
    /// Takes the known columns of a batch.
    pub fn new(batch: &RecordBatch) -> PyResult<Self> {
        let missing = |name: &str| to_py_err(Kind::Schema, format!("required column {name} is missing"));
        Ok(Self {
            transaction: TransactionColumns::new(batch)?,
            known_time: times(batch, "known_time")?.ok_or_else(|| missing("known_time"))?,
            is_fraud: numbers(batch, "is_fraud", "int8", |found| *found == DataType::Int8)?
                .ok_or_else(|| missing("is_fraud"))?,
            typology: text(batch, "typology")?,
        })
    }

    /// One row; `None` where there is no verdict.
    pub fn row(&self, row: usize) -> Option<RawLabel<'_>> {
        Some(RawLabel {
            transaction: self.transaction.row(row),
            known_time_micros: self.known_time.get(row),
            is_fraud: self.is_fraud.get(row)? != 0,
            typology: self.typology.as_ref().and_then(|column| column.get(row)),
        })
    }
}
