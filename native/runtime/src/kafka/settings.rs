//! Settings of everything that talks to Kafka, and the client properties that follow from them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::payload::Format;

/// Where a stream that has never decided anything begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartFrom {
    /// With the oldest record that the broker still has.
    Earliest,
    /// With the next record that arrives.
    Latest,
}

/// The section `[kafka]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port`, comma-separated.
    pub brokers: String,
    /// Further librdkafka properties, for example for TLS and SASL; they win over ours.
    pub client: BTreeMap<String, String>,
    /// Consumer group: processes of one group take turns.
    pub group: String,
    /// Topic of transactions, keyed by customer.
    pub transactions_topic: String,
    /// Topic of labels, of one partition.
    pub labels_topic: String,
    /// Topic of decisions, of one partition.
    pub decisions_topic: String,
    /// Topic of the decisions that were not "approve", of one partition.
    pub alerts_topic: String,
    /// Topic of refused records, of one partition.
    pub dead_letter_topic: String,
    /// Format of transactions.
    pub transactions_format: Format,
    /// Format of labels.
    pub labels_format: Format,
    /// Partitions of the transactions topic where the program creates it; not read here.
    pub partitions: i32,
    /// Where to begin when there are no decisions yet.
    pub start: StartFrom,
}

/// Properties in the order in which they are set.
pub type Properties = BTreeMap<String, String>;

impl KafkaSettings {
    fn base(&self) -> Properties {
        [
            ("bootstrap.servers", self.brokers.as_str()),
            // A broker that comes back is found within a second.
            ("reconnect.backoff.max.ms", "1000"),
            ("reconnect.backoff.ms", "50"),
            ("topic.metadata.refresh.interval.ms", "30000"),
            ("log_level", "4"),
            ("socket.keepalive.enable", "true"),
            // The client would tell the broker about itself, and wait for that when it ends.
            ("enable.metrics.push", "false"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    fn finish(&self, mut properties: Properties, ours: &[(&str, &str)]) -> Properties {
        properties.extend(ours.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        properties.extend(self.client.clone());
        properties
    }

    /// Of a consumer that is told what to read and where.
    pub fn consumer_properties(&self) -> Properties {
        self.finish(
            self.base(),
            &[
                // Required by `assign`; nothing is committed under it and no group is joined.
                ("group.id", &self.group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                // An offset that the broker no longer has is an error to be handled, never a silent jump.
                ("auto.offset.reset", "error"),
                // The default of a second halves the throughput: the fetcher sleeps while we catch up.
                ("fetch.queue.backoff.ms", "2"),
                ("fetch.wait.max.ms", "20"),
                ("fetch.message.max.bytes", "1048576"),
                ("queued.min.messages", "100000"),
                // For each partition; the bound on memory while we are slower than the broker.
                ("queued.max.messages.kbytes", "8192"),
                ("enable.partition.eof", "false"),
            ],
        )
    }

    /// Of a member of the group that takes turns.
    pub fn seat_properties(&self) -> Properties {
        self.finish(
            self.base(),
            &[
                ("group.id", &self.group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                // Whoever sits stays seated when another one comes.
                ("partition.assignment.strategy", "cooperative-sticky"),
                // As short as brokers allow unless told otherwise (their group.min.session.timeout.ms).
                ("session.timeout.ms", "6000"),
                ("heartbeat.interval.ms", "1000"),
                ("auto.offset.reset", "latest"),
                // The seat's partition is never read through this consumer.
                ("queued.max.messages.kbytes", "1"),
            ],
        )
    }

    /// Of the producer; `linger_ms` and `compression` as in the section `[output]`.
    pub fn producer_properties(&self, linger_ms: f64, compression: &str) -> Properties {
        self.finish(
            self.base(),
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                // Of records that go where their key says: the partition that the Java client would choose.
                ("partitioner", "murmur2_random"),
                // A record is never given up: an outage of the broker is waited for.
                ("message.timeout.ms", "0"),
                ("linger.ms", &linger_ms.to_string()),
                ("compression.codec", compression),
                // One request at a time: what comes meanwhile is the next batch, so batches grow with the load by
                // themselves. With several, the client's thread polls without pause as long as anything is queued
                // (its clock counts microseconds, its poll milliseconds): a whole core for nothing.
                ("max.in.flight.requests.per.connection", "1"),
                ("batch.num.messages", "10000"),
                ("batch.size", "1000000"),
                // Never the limit: records in flight are counted and bounded before they get here.
                ("queue.buffering.max.messages", "2000000"),
                ("queue.buffering.max.kbytes", "2097151"),
            ],
        )
    }
}
