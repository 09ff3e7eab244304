//! What a row costs: a measurement, not a test. It fills a log, writes it to each database and prints processor time
//! per record of the sink's thread and of the server's process, which must run on this machine.
//!
//! `cargo test -p fraudengine-runtime --test sinks_cost -- --ignored --nocapture`, with the addresses of
//! `sink_support` in the environment and, if wanted, `FRAUDENGINE_TEST_RECORDS` and `FRAUDENGINE_TEST_SQL`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod sink_support;

use std::fs;
use std::time::Instant;

use fraudengine_runtime::payload::record::decision as decode;
use fraudengine_runtime::sink::{PostgresSettings, RedisSettings, spawn_postgres, spawn_redis};
use fraudengine_runtime::stop::Stop;
use prost::Message;
use sink_support::*;

const TICK_SECONDS: f64 = 0.01;

/// Processor seconds in a `stat` file of /proc.
fn spent(path: &str) -> f64 {
    let Ok(text) = fs::read_to_string(path) else { return 0.0 };
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * TICK_SECONDS
}

/// Processor seconds of this process's threads with this name.
fn thread_spent(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
        .map(|task| spent(task.path().join("stat").to_str().unwrap()))
        .sum()
}

fn records() -> u64 {
    std::env::var("FRAUDENGINE_TEST_RECORDS").map_or(500_000, |text| text.parse().unwrap())
}

#[test]
#[ignore = "a measurement"]
fn postgres() {
    let (database, mut log) = (Database::new(), Log::new());
    // Further statements, to see what an index would cost.
    if let Ok(statements) = std::env::var("FRAUDENGINE_TEST_SQL") {
        let stop = Stop::default();
        let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
        reach(&handle, log.flush());
        stop.set();
        handle.join();
        database.client().batch_execute(&statements).unwrap();
    }
    for number in 0..records() {
        let mut record = log.decision(number);
        // Random ids: the dear case for an index on them.
        let id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        record.transaction.as_mut().unwrap().transaction_id = id;
        log.append(&record);
    }
    let end = log.flush();
    let stop = Stop::default();
    let settings = PostgresSettings { batch_rows: 5_000, batch_wait_ms: 200, ..database.settings() };
    let begun = Instant::now();
    let handle = spawn_postgres(&settings, &log.settings, euro(), None, &stop).unwrap();
    let mut client = database.client();
    let mut pids: Vec<i32> = Vec::new();
    let (mut server, mut thread) = (0.0_f64, 0.0_f64);
    wait_until("all is written", || {
        if pids.len() < 2 {
            let rows = client
                .query(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'fraudengine' AND datname = $1",
                    &[&database.name],
                )
                .unwrap();
            pids = rows.iter().map(|row| row.get(0)).collect();
        }
        server = pids.iter().map(|pid| spent(&format!("/proc/{pid}/stat"))).sum();
        thread = thread_spent("postgres");
        first(&handle).next_offset >= end
    });
    let elapsed = begun.elapsed().as_secs_f64();
    stop.set();
    handle.join();
    let sizes: (i64, i64) = {
        let row = client
            .query_one(
                "SELECT sum(pg_table_size(inhrelid))::bigint, sum(pg_indexes_size(inhrelid))::bigint \
                 FROM pg_inherits WHERE inhparent = 'transactions'::regclass",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let each = |seconds: f64| seconds * 1e6 / records() as f64;
    println!(
        "postgres: {} records, {:.0}/s; us per record: backend {:.2}, sink thread {:.2}; bytes per row: table {:.0}, index {:.0}",
        records(),
        records() as f64 / elapsed,
        each(server),
        each(thread),
        sizes.0 as f64 / records() as f64,
        sizes.1 as f64 / records() as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn redis_server() {
    let mut log = Log::new();
    let settings = RedisSettings { flush_ms: 200, profiles_per_second_max: 2_000, ..redis_settings(904) };
    log.decide(0..records());
    let end = log.flush();
    let mut at = redis::Client::open(settings.url.as_str()).unwrap().get_connection().unwrap();
    let info: String = redis::cmd("INFO").arg("server").query(&mut at).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned();
    let server = spent(&format!("/proc/{pid}/stat"));
    let begun = Instant::now();
    let stop = Stop::default();
    let handle = spawn_redis(&settings, &log.settings, None, &stop).unwrap();
    let mut thread = 0.0_f64;
    wait_until("all is counted", || {
        thread = thread_spent("redis");
        first(&handle).next_offset >= end
    });
    let elapsed = begun.elapsed().as_secs_f64();
    let server = spent(&format!("/proc/{pid}/stat")) - server;
    let status = first(&handle);
    stop.set();
    handle.join();
    let each = |seconds: f64| seconds * 1e6 / records() as f64;
    println!(
        "redis: {} records in {} flushes, {:.0}/s; us per record: server {:.2}, sink thread {:.2}; ms per flush: server {:.2}",
        records(),
        status.batches,
        records() as f64 / elapsed,
        each(server),
        each(thread),
        server * 1e3 / status.batches as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn decoding() {
    let encoded: Vec<Vec<u8>> = (0..20_000).map(|number| decision(number, 0).encode_to_vec()).collect();
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    let begun = Instant::now();
    let mut flags = 0;
    for _ in 0..50 {
        for record in &encoded {
            let view = decode(record).unwrap();
            flags |= view.flags + view.transaction.unwrap().customer_id.unwrap().len() as u32;
        }
    }
    assert_ne!(flags, 0);
    let nanos = begun.elapsed().as_nanos() as f64 / 50.0 / encoded.len() as f64;
    println!("decoding: {nanos:.0} ns a record of {} bytes", bytes / encoded.len());
}
