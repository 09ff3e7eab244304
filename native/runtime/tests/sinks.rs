//! The sinks against real Kafka, Postgres and Redis: rows once, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod sink_support;

use std::time::Duration;

use fraudengine_runtime::sink::{MIGRATIONS, SinkState, spawn_postgres};
use fraudengine_runtime::stop::Stop;
use postgres::{Client, NoTls};
use sink_support::proxy::Proxy;
use sink_support::*;

const ROWS: &str = "SELECT count(*) FROM transactions";

/// Runs the sink until it has come to an offset, then stops it.
fn write_until(database: &Database, log: &Log, offset: i64, retention_days: u32) {
    let stop = Stop::default();
    let settings = fraudengine_runtime::sink::PostgresSettings { retention_days, ..database.settings() };
    let handle = spawn_postgres(&settings, &log.settings, euro(), None, &stop).unwrap();
    reach(&handle, offset);
    stop.set();
    handle.join();
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn every_decision_is_a_row_once_even_when_the_position_is_lost() {
    let (database, mut log) = (Database::new(), Log::new());
    log.decide(0..2_000);
    let mut repeated = log.decision(7);
    repeated.flags = 1;
    log.append(&repeated);
    // Repeated beyond the horizon of the engine: not flagged, and not the decision that counts.
    let mut unflagged = log.decision(8);
    unflagged.score = 0.99;
    log.append(&unflagged);
    let end = log.flush();
    write_until(&database, &log, end, 0);
    let check = || {
        assert_eq!(database.count(ROWS), 2_000);
        assert_eq!(database.count("SELECT count(*) FROM alerts"), 200);
        assert_eq!(database.count("SELECT sum(source_offset)::bigint FROM transactions"), 1_999_000);
    };
    check();
    let mut client = database.client();
    let row = client
        .query_one(
            "SELECT score, action, channel, model, reasons->0->>'feature', features[3], customer_id, late, \
             latency_micros, extract(epoch FROM event_time)::bigint FROM transactions_named \
             WHERE transaction_id = 't000000000020'",
            &[],
        )
        .unwrap();
    assert!((row.get::<_, f32>(0) - 0.9).abs() < 1e-6);
    assert_eq!((row.get::<_, &str>(1), row.get::<_, &str>(2)), ("block", "ecommerce"));
    assert_eq!((row.get::<_, &str>(3), row.get::<_, &str>(4)), ("feed000000000001", "amount_z_30d"));
    assert_eq!((row.get::<_, f32>(5), row.get::<_, &str>(6)), (3.0, "c000020"));
    assert_eq!((row.get::<_, bool>(7), row.get::<_, i32>(8)), (false, 1_500));
    let first: f32 = client
        .query_one("SELECT score FROM transactions WHERE transaction_id = 't000000000008'", &[])
        .unwrap()
        .get(0);
    assert!((first - 0.01).abs() < 1e-6, "the first decision of an id counts");
    // The same batches again: the position is put back as if it had been lost.
    client.execute("UPDATE sink_progress SET next_offset = 0 WHERE sink = 'postgres'", &[]).unwrap();
    write_until(&database, &log, end, 0);
    check();
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn two_writers_and_killed_connections_write_every_row_once() {
    let (database, mut log) = (Database::new(), Log::new());
    log.decide(0..30_000);
    let end = log.flush();
    let stop = Stop::default();
    let handles: Vec<_> = (0..2)
        .map(|_| spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap())
        .collect();
    // Connections are ended by the server at any moment of a batch, before and after its commit.
    let mut admin = Client::connect(&address("POSTGRES"), NoTls).unwrap();
    wait_until("all is written", || {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = $1 AND application_name = 'fraudengine' AND random() < 0.2";
        admin.execute(kill, &[&database.name]).unwrap();
        handles.iter().all(|handle| first(handle).next_offset >= end)
    });
    stop.set();
    handles.into_iter().for_each(fraudengine_runtime::sink::SinkHandle::join);
    assert_eq!(database.count(ROWS), 30_000);
    assert_eq!(database.count("SELECT count(*) FROM alerts"), 3_000);
    assert_eq!(database.count("SELECT next_offset FROM sink_progress WHERE sink = 'postgres'"), end);
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn records_of_a_replaced_process_are_left_out_also_after_a_restart() {
    let (database, mut log) = (Database::new(), Log::new());
    log.decide(0..10);
    let old = log.generation;
    log.marker();
    log.append(&decision(100, old));
    log.decide(10..20);
    write_until(&database, &log, log.flush(), 0);
    log.append(&decision(101, old));
    log.decide(20..30);
    write_until(&database, &log, log.flush(), 0);
    assert_eq!(database.count(ROWS), 30);
    assert_eq!(database.count("SELECT max(source_offset) FROM transactions"), 29);
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn days_become_partitions_and_leave_with_the_retention() {
    let (database, mut log) = (Database::new(), Log::new());
    let today =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    for (number, age) in [(0, 0), (1, 0), (2, 40), (3, 41)] {
        let mut record = log.decision(number);
        record.transaction.as_mut().unwrap().event_time_micros = today - age * DAY;
        log.append(&record);
    }
    write_until(&database, &log, log.flush(), 0);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass";
    assert_eq!((database.count(ROWS), database.count(partitions)), (4, 4));
    let cheap = "SELECT count(*) FROM pg_attribute a JOIN pg_inherits i ON i.inhrelid = a.attrelid \
         WHERE i.inhparent = 'transactions'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget = 10";
    assert_eq!(database.count(cheap), 3 * 27, "every column of a day is analysed by a small sample");
    // It summarises what is not yet, and says how many stretches that were.
    let open = "SELECT sum(brin_summarize_range(i.indexrelid, 0)) FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid \
         JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
         WHERE h.inhparent = 'transactions'::regclass AND h.inhrelid <> 'transactions_other'::regclass AND a.amname = 'brin'";
    assert_eq!(database.count(open), 3 * 3, "the writer keeps no summary of a day's first rows");
    let mut old = log.decision(4);
    old.transaction.as_mut().unwrap().event_time_micros = today - 50 * DAY;
    log.append(&old);
    let mut new = log.decision(5);
    new.transaction.as_mut().unwrap().event_time_micros = today;
    log.append(&new);
    write_until(&database, &log, log.flush(), 30);
    // Two days left, one row was too old to be written, one is new.
    assert_eq!((database.count(ROWS), database.count(partitions)), (3, 2));
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn an_older_database_is_brought_up_to_date_and_a_newer_one_is_refused() {
    let (database, mut log) = (Database::new(), Log::new());
    let mut client = database.client();
    client.batch_execute(MIGRATIONS[0].sql).unwrap();
    client
        .batch_execute(&format!(
            "CREATE TABLE schema_migrations (version integer NOT NULL PRIMARY KEY, name text NOT NULL, \
             checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO schema_migrations (version, name, checksum) VALUES (1, 'tables', '{}')",
            MIGRATIONS[0].checksum()
        ))
        .unwrap();
    log.decide(0..10);
    let end = log.flush();
    write_until(&database, &log, end, 0);
    write_until(&database, &log, end, 0);
    assert_eq!(database.count("SELECT count(*) FROM transactions_named"), 10);
    let known = MIGRATIONS.len() as i64;
    assert_eq!(database.count("SELECT count(*) FROM schema_migrations"), known);
    client
        .execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'x', 'x')", &[])
        .unwrap();
    let stop = Stop::default();
    let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
    wait_until("it is refused", || first(&handle).last_error.is_some_and(|error| error.contains("newer")));
    stop.set();
    handle.join();
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn look_up_indexes_come_to_days_that_were_there_and_are_kept_up() {
    let (database, mut log) = (Database::new(), Log::new());
    let mut client = database.client();
    // A database as an older program left it: all but the indexes, with a day.
    client
        .batch_execute(
            "CREATE TABLE schema_migrations (version integer NOT NULL PRIMARY KEY, name text NOT NULL, \
             checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .unwrap();
    for migration in &MIGRATIONS[..3] {
        client.batch_execute(migration.sql).unwrap();
        client
            .execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[&migration.version, &migration.name, &migration.checksum()],
            )
            .unwrap();
    }
    client
        .batch_execute(
            "CREATE TABLE transactions_20261124 PARTITION OF transactions \
             FOR VALUES FROM ('2026-11-24 00:00+00') TO ('2026-11-25 00:00+00')",
        )
        .unwrap();
    log.decide(0..4_000);
    let end = log.flush();
    let stop = Stop::default();
    let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
    reach(&handle, end);
    // Three pages: one that says what it is, one that finds summaries, one with summaries.
    let summarised = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
         WHERE i.indrelid = 'transactions_20261124'::regclass AND a.amname = 'brin' \
         AND pg_relation_size(c.oid) >= 3 * 8192";
    wait_at_most(Duration::from_secs(40), "the day has its indexes", || database.count(summarised) == 3);
    stop.set();
    handle.join();
    let found = "SELECT count(*) FROM transactions WHERE customer_id = 'c000020'";
    let all = database.count(found);
    assert!(all > 0);
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let plan: Vec<String> =
        client.query(&format!("EXPLAIN {found}"), &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Bitmap Index Scan")), "{plan:?}");
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn a_database_that_is_missing_is_told_and_waited_for() {
    let (database, mut log) = (Database::absent(), Log::new());
    log.decide(0..10);
    let end = log.flush();
    let stop = Stop::default();
    let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
    wait_until("it is told", || {
        let status = first(&handle);
        let told = status.last_error.is_some_and(|error| error.contains("does not exist"));
        told && status.state == SinkState::Retrying && status.retries > 0
    });
    database.create();
    reach(&handle, end);
    stop.set();
    handle.join();
    assert_eq!(database.count(ROWS), 10);
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn records_that_the_broker_has_dropped_are_told_and_the_rest_is_written() {
    let (database, mut log) = (Database::new(), Log::new());
    log.decide(0..10);
    write_until(&database, &log, log.flush(), 0);
    log.decide(10..100);
    let end = log.flush();
    log.drop_before(51);
    let stop = Stop::default();
    let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
    reach(&handle, end);
    let status = first(&handle);
    stop.set();
    handle.join();
    assert_eq!((status.lost, database.count(ROWS)), (40, 60));
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn the_newest_label_of_a_transaction_is_its_row() {
    let (database, mut log) = (Database::new(), Log::new());
    log.flush();
    log.label("a", true, Some("mule"));
    log.label("b", false, None);
    log.bytes_to_labels(b"\xff\xff\xff");
    log.label("a", false, None);
    // The engine refuses it, so it corrects nothing.
    log.label("a", true, Some("4111 1111 1111 1111"));
    log.flush();
    let stop = Stop::default();
    let handle = spawn_postgres(&database.settings(), &log.settings, euro(), None, &stop).unwrap();
    wait_until("labels are written", || handle.status()[1].next_offset == 5);
    log.label("b", true, Some("account_takeover"));
    log.flush();
    wait_until("labels are written", || handle.status()[1].next_offset == 6);
    assert_eq!(handle.status()[1].refused, 2);
    stop.set();
    handle.join();
    let query = "SELECT transaction_id, is_fraud, typology FROM labels ORDER BY 1";
    let rows = database.client().query(query, &[]).unwrap();
    let rows: Vec<(String, bool, Option<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let named = Some("account_takeover".to_owned());
    assert_eq!(rows, [("a".to_owned(), false, None), ("b".to_owned(), true, named)]);
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn an_outage_and_a_hung_server_cost_time_and_nothing_else() {
    let (database, mut log) = (Database::new(), Log::new());
    let address = address("POSTGRES");
    let target = address.rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let proxy = Proxy::new(target.clone());
    let url = database.url.replace(&target, &format!("127.0.0.1:{}", proxy.port));
    log.decide(0..1_000);
    let stop = Stop::default();
    let handle = spawn_postgres(&postgres_settings(&url), &log.settings, euro(), None, &stop).unwrap();
    reach(&handle, log.flush());
    proxy.cut();
    log.decide(1_000..100_000);
    let end = log.flush();
    wait_until("the outage is told", || first(&handle).state == SinkState::Retrying);
    let before = resident_bytes();
    wait_until("several attempts failed", || first(&handle).retries >= 5);
    proxy.restore();
    wait_until("it goes on", || first(&handle).next_offset > 2_000);
    proxy.freeze();
    let patience = Duration::from_secs(90);
    wait_at_most(patience, "the hang is told", || {
        first(&handle).last_error.is_some_and(|error| error.contains("no answer"))
    });
    let grown = resident_bytes().saturating_sub(before);
    proxy.restore();
    wait_at_most(patience, "all is written", || first(&handle).next_offset >= end);
    stop.set();
    handle.join();
    assert_eq!(database.count(ROWS), 100_000);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes during an outage");
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
