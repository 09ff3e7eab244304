//! The edge's share of a transaction: bytes to raw types, and a decision to bytes.
//!
//! 16,384 records of a synthetic day, all different, because a branch predictor learns a repeated record by heart;
//! figures are for one record. `prost` and `serde_json` stand beside ours: they are why the decoders are written by
//! hand. Hashing of keys (`check`) is a case of its own. A regression here is lost throughput one for one.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fraudengine_core::decision::Action;
use fraudengine_core::event::{CurrencyCode, CurrencyTable, check};
use fraudengine_generator::{Config, World};
use fraudengine_runtime::generate::record::{self, Texts};
use fraudengine_runtime::payload::encode::{Decision, Source, decision};
use fraudengine_runtime::payload::{Format, Scratch, decode_transaction};
use fraudengine_runtime::wire;
use prost::Message;

const RECORDS: usize = 16_384;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn records(format: Format) -> Vec<Vec<u8>> {
    let world = World::new(Config { customers: 30_000, days: 1, ..Config::default() }).expect("in range");
    let mut texts = Texts::default();
    let encoded = |row| {
        texts.write(row);
        let mut out = Vec::new();
        record::transaction(format, &texts.transaction(row), &mut out);
        out
    };
    let records: Vec<_> = world.day(0).iter().take(RECORDS).map(encoded).collect();
    assert_eq!(records.len(), RECORDS, "the day is long enough");
    records
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for (name, format) in [("protobuf", Format::Protobuf), ("json", Format::Json)] {
        let records = records(format);
        let bytes: usize = records.iter().map(Vec::len).sum();
        println!("{name}: {} bytes a record", bytes / RECORDS);
        let mut scratch = Scratch::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                for record in &records {
                    black_box(decode_transaction(format, record, &mut scratch).expect("valid"));
                }
            });
        });
        let currencies = CurrencyTable::new(CurrencyCode::parse("EUR").expect("a code"), Vec::new());
        group.bench_function(format!("{name}_and_check"), |b| {
            b.iter(|| {
                for record in &records {
                    let raw = decode_transaction(format, record, &mut scratch).expect("valid");
                    black_box(check(&raw, &currencies).expect("valid"));
                }
            });
        });
    }
    let protobuf = records(Format::Protobuf);
    group.bench_function("protobuf_by_prost", |b| {
        b.iter(|| {
            for record in &protobuf {
                black_box(wire::Transaction::decode(record.as_slice()).expect("valid"));
            }
        });
    });
    let json = records(Format::Json);
    group.bench_function("json_by_serde_json", |b| {
        b.iter(|| {
            for record in &json {
                black_box(serde_json::from_slice::<Borrowed<'_>>(record).expect("valid"));
            }
        });
    });
    group.finish();
}

/// What a derived decoder would look like: no names or values in errors, texts without escapes only.
#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "filled to be measured")]
struct Borrowed<'a> {
    transaction_id: &'a str,
    event_time: i64,
    customer_id: &'a str,
    card_id: Option<&'a str>,
    device_id: Option<&'a str>,
    merchant_id: Option<&'a str>,
    ip_address: Option<&'a str>,
    amount_minor: i64,
    currency: Option<&'a str>,
    channel: Option<&'a str>,
    merchant_category: Option<i64>,
    country: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let records = records(Format::Protobuf);
    let mut scratch = vec![Scratch::default(); RECORDS];
    let decoded = records.iter().zip(&mut scratch);
    let raw: Vec<_> = decoded
        .map(|(record, scratch)| decode_transaction(Format::Protobuf, record, scratch).expect("valid"))
        .collect();
    let mut out = Vec::with_capacity(512);
    let parts = |transaction, row: usize| Decision {
        transaction,
        score: 0.001,
        anomaly: 0.4,
        action: Action::Approve,
        reasons: &[],
        flags: 0,
        source_partition: 3,
        source_offset: 1_000_000 + row as i64,
        source_time_micros: 1_735_689_600_000_000,
        decided_time_micros: 1_735_689_600_004_000,
        model: 0x0123_4567_89ab_cdef,
        catalogue: 0xfedc_ba98_7654_3210,
        generation: 123_456,
        label_offset: 5_000_000,
        features: &[],
    };
    group.bench_function("decision_from_protobuf", |b| {
        b.iter(|| {
            for (row, record) in records.iter().enumerate() {
                out.clear();
                decision(&parts(Source::Encoded(record), row), &mut out);
                black_box(&out);
            }
        });
    });
    group.bench_function("decision_from_raw", |b| {
        b.iter(|| {
            for (row, raw) in raw.iter().enumerate() {
                out.clear();
                decision(&parts(Source::Raw(raw), row), &mut out);
                black_box(&out);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
