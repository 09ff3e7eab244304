//! Real servers for the tests of the sinks, by their addresses in the environment, and a log written by hand.
//!
//! `FRAUDENGINE_TEST_KAFKA`, `FRAUDENGINE_TEST_POSTGRES` and `FRAUDENGINE_TEST_REDIS`; see
//! `tests/integration/test_rust_sinks.py`, which starts them. Every test takes names of its own.

#![allow(dead_code, reason = "each test uses its part")]

pub mod proxy;

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fraudengine_core::event::{CurrencyCode, CurrencyTable};
use fraudengine_runtime::kafka::{KafkaSettings, StartFrom};
use fraudengine_runtime::payload::Format;
use fraudengine_runtime::sink::{PostgresSettings, RedisSettings, SinkHandle, Status};
use fraudengine_runtime::wire::{DecisionRecord, Label, Reason, Transaction};
use postgres::{Client, NoTls};
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// 2026-11-24 12:00 UTC.
pub const NOON: i64 = 1_795_521_600_000_000;
pub const DAY: i64 = 86_400_000_000;

pub fn address(name: &str) -> String {
    env::var(format!("FRAUDENGINE_TEST_{name}"))
        .unwrap_or_else(|_| panic!("FRAUDENGINE_TEST_{name} is not set"))
}

/// A name that no other test has.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{stem}_{}_{now}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for a condition, at most 60 seconds.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_at_most(Duration::from_secs(60), what, condition);
}

pub fn wait_at_most(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The decisions and labels of one test.
pub struct Log {
    pub settings: KafkaSettings,
    producer: BaseProducer,
    next: i64,
    pub generation: i64,
}

impl Log {
    /// Two new topics, the decisions with a marker.
    pub fn new() -> Self {
        let brokers = address("KAFKA");
        let name = unique("log");
        let settings = KafkaSettings {
            brokers: brokers.clone(),
            client: BTreeMap::new(),
            group: name.clone(),
            transactions_topic: format!("{name}_transactions"),
            labels_topic: format!("{name}_labels"),
            decisions_topic: format!("{name}_decisions"),
            alerts_topic: format!("{name}_alerts"),
            dead_letter_topic: format!("{name}_dead"),
            transactions_format: Format::Protobuf,
            labels_format: Format::Protobuf,
            partitions: 1,
            start: StartFrom::Earliest,
        };
        create_topics(&brokers, &[&settings.decisions_topic, &settings.labels_topic]);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "2000000")
            .set("topic.metadata.refresh.fast.interval.ms", "50")
            .create()
            .unwrap();
        let mut log = Self { settings, producer, next: 0, generation: 0 };
        log.marker();
        log
    }

    fn send(&mut self, topic: &str, value: &[u8]) {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(value);
        while let Err((_full, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
    }

    pub fn append(&mut self, record: &DecisionRecord) {
        let topic = self.settings.decisions_topic.clone();
        self.send(&topic, &record.encode_to_vec());
        self.next += 1;
    }

    /// A new process begins to write.
    pub fn marker(&mut self) {
        self.generation = self.next;
        self.append(&DecisionRecord { owner: 1 + self.next as u64, ..DecisionRecord::default() });
    }

    /// One decision for each number, in the order given.
    pub fn decide(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let record = self.decision(number);
            self.append(&record);
        }
    }

    pub fn decision(&self, number: u64) -> DecisionRecord {
        decision(number, self.generation)
    }

    pub fn label(&mut self, id: &str, is_fraud: bool, typology: Option<&str>) {
        let label = Label {
            transaction_id: id.to_owned(),
            event_time_micros: NOON,
            customer_id: "c1".to_owned(),
            amount_minor: Some(5),
            is_fraud: if is_fraud { 2 } else { 1 },
            label_known_time_micros: NOON + DAY,
            typology: typology.map(str::to_owned),
            ..Label::default()
        };
        let topic = self.settings.labels_topic.clone();
        self.send(&topic, &label.encode_to_vec());
    }

    pub fn bytes_to_labels(&mut self, bytes: &[u8]) {
        let topic = self.settings.labels_topic.clone();
        self.send(&topic, bytes);
    }

    /// The broker forgets the decisions below an offset, as its retention would.
    pub fn drop_before(&self, offset: i64) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.settings.brokers).create().unwrap();
        let mut below = TopicPartitionList::new();
        below.add_partition_offset(&self.settings.decisions_topic, 0, Offset::Offset(offset)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(admin.delete_records(&below, &AdminOptions::new())).unwrap();
    }

    /// Waits until the broker has everything; returns the offset behind the last decision.
    pub fn flush(&self) -> i64 {
        self.producer.flush(Duration::from_secs(60)).unwrap();
        self.next
    }
}

fn create_topics(brokers: &str, names: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topics: Vec<_> =
        names.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for created in runtime.block_on(admin.create_topics(&topics, &options)).unwrap() {
        created.unwrap();
    }
}

/// The currencies of an engine whose reference is the euro.
pub fn euro() -> CurrencyTable {
    CurrencyTable::new(CurrencyCode::parse("EUR").unwrap(), Vec::new())
}

/// Every tenth is reviewed, every twentieth blocked; ids, customers and times follow from the number.
pub fn decision(number: u64, generation: i64) -> DecisionRecord {
    let flagged = number.is_multiple_of(10);
    let action = if number.is_multiple_of(20) { 3 } else { 2 };
    let reason = |feature: &str| Reason { feature: feature.to_owned(), value: Some(1.5), contribution: 0.5 };
    DecisionRecord {
        transaction: Some(Transaction {
            transaction_id: format!("t{number:012}"),
            event_time_micros: NOON + number as i64,
            customer_id: format!("c{:06}", number % 997),
            card_id: Some(format!("k{:06}", number % 1_500)),
            device_id: (!number.is_multiple_of(3)).then(|| format!("d{:06}", number % 2_000)),
            merchant_id: Some(format!("m{:05}", number % 300)),
            ip_address: Some(format!("10.0.{}.{}", number % 200, number % 250)),
            amount_minor: Some(1_000 + (number % 100) as i64),
            currency: Some("EUR".to_owned()),
            channel: Some(3),
            merchant_category: Some(5411),
            country: Some("DE".to_owned()),
            latitude: Some(52.5),
            longitude: Some(13.4),
        }),
        score: if flagged { 0.9 } else { 0.01 },
        anomaly: 0.4,
        action: if flagged { action } else { 1 },
        reasons: if flagged {
            vec![reason("amount_z_30d"), reason("merchant_fraud_rate_7d")]
        } else {
            Vec::new()
        },
        source_offset: number as i64,
        source_time_micros: NOON + number as i64,
        decided_time_micros: NOON + number as i64 + 1_500,
        model: 0xfeed_0000_0000_0001,
        catalogue: 7,
        generation,
        features: if flagged { vec![1.0, f32::NAN, 3.0] } else { Vec::new() },
        ..DecisionRecord::default()
    }
}

/// A new database and its URL.
pub struct Database {
    pub name: String,
    pub url: String,
}

impl Database {
    pub fn new() -> Self {
        let database = Self::absent();
        database.create();
        database
    }

    /// A name for a database that is not there yet.
    pub fn absent() -> Self {
        let name = unique("sink");
        let url = format!("{}/{name}", address("POSTGRES").rsplit_once('/').unwrap().0);
        Self { name, url }
    }

    pub fn create(&self) {
        let mut client = Client::connect(&address("POSTGRES"), NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {}", self.name)).unwrap();
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    pub fn settings(&self) -> PostgresSettings {
        postgres_settings(&self.url)
    }

    pub fn count(&self, query: &str) -> i64 {
        self.client().query_one(query, &[]).unwrap().get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&address("POSTGRES"), NoTls) {
            let _gone = client.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

pub fn postgres_settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        enabled: true,
        url: url.to_owned(),
        retention_days: 0,
        batch_rows: 500,
        batch_wait_ms: 50,
        lookup_indexes: true,
    }
}

/// An empty database of the Redis server.
pub fn redis_settings(number: u32) -> RedisSettings {
    let url = format!("{}/{number}", address("REDIS").rsplit_once('/').unwrap().0);
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHDB").exec(&mut connection).unwrap();
    RedisSettings {
        enabled: true,
        url,
        feed_length: 1_000,
        profile_ttl_seconds: 600,
        profiles_per_second_max: 100_000,
        flush_ms: 50,
    }
}

pub fn first(handle: &SinkHandle) -> Status {
    handle.status().swap_remove(0)
}

/// Waits until the first reader of a sink has come to an offset.
pub fn reach(handle: &SinkHandle, offset: i64) {
    let end = Instant::now() + Duration::from_secs(60);
    while first(handle).next_offset < offset {
        assert!(Instant::now() < end, "waited in vain for {offset}: {:?}", first(handle));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
