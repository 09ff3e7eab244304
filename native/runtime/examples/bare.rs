//! The yardsticks of `benchmarks/stream.py`: what Kafka's client costs when nothing is done with the records.
//!
//! - `bare drain BROKERS TOPIC COUNT`: reads so many records and throws them away; prints records and seconds.
//! - `bare echo BROKERS FROM TO SECONDS LINGER_MS`: sends every new record of FROM to TO (its broker's time, 8 bytes
//!   little-endian microseconds, in front), until the time is up; prints how many.
//! - `bare sources BROKERS TOPIC FILE`: writes where each decision of a log came from, `partition << 48 | offset`, 8 bytes
//!   little-endian.
//!
//! All use the consumer and the producer of the stream with its settings: the ratio tells what deciding adds.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use fraudengine_runtime::kafka::{Consumer, KafkaSettings, Polled, Position, Producer, Record, StartFrom};
use fraudengine_runtime::log_reader::LogReader;
use fraudengine_runtime::payload::Format;
use fraudengine_runtime::payload::record::decision;

const AT_ONCE: usize = 1_024;

fn settings(brokers: &str) -> KafkaSettings {
    let name = |name: &str| name.to_owned();
    KafkaSettings {
        brokers: name(brokers),
        client: BTreeMap::new(),
        group: name("bare"),
        transactions_topic: String::new(),
        labels_topic: String::new(),
        decisions_topic: String::new(),
        alerts_topic: String::new(),
        dead_letter_topic: String::new(),
        transactions_format: Format::Protobuf,
        labels_format: Format::Protobuf,
        partitions: 1,
        start: StartFrom::Earliest,
    }
}

/// A consumer of all partitions of a topic, from the beginning or the end.
fn open(settings: &KafkaSettings, topic: &str, from_start: bool) -> Result<Consumer, Box<dyn Error>> {
    let questions = Consumer::idle(settings)?;
    let mut positions = Vec::new();
    for partition in 0..questions.handle().partitions(topic, 10_000)? as i32 {
        let (low, high) = questions.handle().watermarks(topic, partition, 10_000)?;
        let offset = if from_start { low } else { high };
        positions.push(Position { topic: topic.to_owned(), partition, offset });
    }
    Ok(Consumer::new(settings, &positions)?)
}

fn drain(brokers: &str, topic: &str, count: u64) -> Result<(), Box<dyn Error>> {
    let mut consumer = open(&settings(brokers), topic, true)?;
    let (mut seen, mut bytes, mut since) = (0, 0, None);
    while seen < count {
        if let Polled::Records(records) = consumer.poll(AT_ONCE, 100)? {
            for at in 0..records {
                bytes += consumer.message(at).value.len();
            }
            if records > 0 {
                since.get_or_insert_with(Instant::now);
            }
            seen += records as u64;
        }
    }
    let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
    println!("{{\"records\": {seen}, \"bytes\": {bytes}, \"seconds\": {seconds}}}");
    Ok(())
}

fn echo(brokers: &str, from: &str, to: &str, seconds: f64, linger_ms: f64) -> Result<(), Box<dyn Error>> {
    let settings = settings(brokers);
    let mut consumer = open(&settings, from, false)?;
    let mut producer = Producer::new(&settings, linger_ms, "none", &[to])?;
    let (mut sent, mut delivered) = (0_u64, 0_u64);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let Polled::Records(records) = consumer.poll(AT_ONCE, 10)? else { continue };
        bytes.clear();
        ends.clear();
        for at in 0..records {
            let message = consumer.message(at);
            bytes.extend_from_slice(&(message.timestamp_ms * 1_000).to_le_bytes());
            bytes.extend_from_slice(message.value);
            ends.push(bytes.len());
        }
        let mut start = 0;
        let values = ends.iter().map(|&end| {
            let value = &bytes[start..end];
            start = end;
            Record { key: &[], value, tag: 0 }
        });
        producer.send(0, values)?;
        sent += records as u64;
        producer.deliveries(0, |_| delivered += 1)?;
    }
    while delivered < sent {
        producer.deliveries(100, |_| delivered += 1)?;
    }
    println!("{{\"records\": {sent}}}");
    Ok(())
}

fn sources(brokers: &str, topic: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let settings = settings(brokers);
    let (low, high) = LogReader::ends(&settings, topic)?;
    let mut reader = LogReader::open(&settings, topic, low)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    while reader.next() < high {
        for at in 0..reader.poll(AT_ONCE, 100)? {
            let view = decision(reader.record(at).value).map_err(|error| error.to_string())?;
            if !view.is_marker() {
                let source = (view.source_partition as u64) << 48 | view.source_offset as u64;
                out.write_all(&source.to_le_bytes())?;
            }
        }
    }
    Ok(out.flush()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["drain", brokers, topic, count] => drain(brokers, topic, count.parse()?),
        ["echo", brokers, from, to, seconds, linger] => {
            echo(brokers, from, to, seconds.parse()?, linger.parse()?)
        }
        ["sources", brokers, topic, file] => sources(brokers, topic, file),
        _ => Err("usage: bare drain BROKERS TOPIC COUNT | bare echo BROKERS FROM TO SECONDS LINGER_MS | \
             bare sources BROKERS TOPIC FILE"
            .into()),
    }
}
