//! The Redis sink against real Kafka and Redis: counted once, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod sink_support;

use std::collections::HashMap;

use fraudengine_runtime::sink::{RedisSettings, SinkState, spawn_redis};
use fraudengine_runtime::stop::Stop;
use redis::{Commands, Connection};
use sink_support::proxy::Proxy;
use sink_support::*;

fn connection(settings: &RedisSettings) -> Connection {
    redis::Client::open(settings.url.as_str()).unwrap().get_connection().unwrap()
}

fn field(connection: &mut Connection, key: &str, field: &str) -> i64 {
    connection.hget::<_, _, Option<i64>>(key, field).unwrap().unwrap_or(0)
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn counters_feeds_and_profiles_show_the_decisions() {
    let (settings, mut log) = (redis_settings(901), Log::new());
    let mut at = connection(&settings);
    let client = redis::Client::open(settings.url.as_str()).unwrap();
    let mut listener = client.get_connection().unwrap();
    let mut messages = listener.as_pubsub();
    messages.subscribe("fraud:alerts:live").unwrap();
    log.decide(0..2_000);
    let mut repeated = log.decision(7);
    repeated.flags = 1;
    log.append(&repeated);
    let end = log.flush();
    let stop = Stop::default();
    let handle = spawn_redis(&settings, &log.settings, None, &stop).unwrap();
    reach(&handle, end);
    for (name, count) in
        [("transactions", 2_000), ("approved", 1_800), ("reviewed", 100), ("blocked", 100), ("repeated", 1)]
    {
        assert_eq!(field(&mut at, "fraud:counters", name), count, "{name}");
    }
    let minute = format!("fraud:minute:{}", NOON / 60_000_000);
    assert_eq!(field(&mut at, &minute, "blocked"), 100);
    assert_eq!(field(&mut at, &minute, "amount_minor:block:EUR"), 100 * 1_040);
    assert_eq!(field(&mut at, &minute, "latency:2000"), 2_000);
    assert_eq!(field(&mut at, "fraud:latency", "2000"), 2_000);
    assert_eq!(field(&mut at, "fraud:latency", "count"), 2_000);
    let profile: HashMap<String, String> = at.hgetall("fraud:profile:c000003").unwrap();
    // Numbers 3, 1000 (blocked) and 1997.
    assert_eq!((profile["transactions"].as_str(), profile["blocked"].as_str()), ("3", "1"));
    assert_eq!((profile["last_action"].as_str(), profile["max_score"].as_str()), ("approve", "0.9"));
    assert_eq!(profile["last_reasons"], "amount_z_30d,merchant_fraud_rate_7d");
    assert_eq!(profile["scores"], "0.01,0.9,0.01");
    let left: i64 = at.ttl("fraud:profile:c000003").unwrap();
    assert!((1..=600).contains(&left));
    let alerts: i64 = redis::cmd("XLEN").arg("fraud:alerts").query(&mut at).unwrap();
    assert!((200..=500).contains(&alerts), "{alerts}");
    let text: String = messages.get_message().unwrap().get_payload().unwrap();
    let alert: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(alert["reasons"][0]["feature"], "amount_z_30d");
    stop.set();
    handle.join();
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn restarts_flushes_and_older_data_are_counted_right() {
    let (settings, mut log) = (redis_settings(902), Log::new());
    let mut at = connection(&settings);
    let run = |log: &Log, then: &mut dyn FnMut()| {
        let stop = Stop::default();
        let handle = spawn_redis(&settings, &log.settings, None, &stop).unwrap();
        reach(&handle, log.flush());
        then();
        stop.set();
        handle.join();
    };
    log.decide(0..100);
    run(&log, &mut || {});
    let epoch: String = at.hget("fraud:position", "epoch").unwrap();
    log.decide(100..200);
    run(&log, &mut || {});
    assert_eq!(field(&mut at, "fraud:counters", "transactions"), 200);
    // Redis comes back with what it held earlier: counters and position of the same moment.
    let _: () = at.hset("fraud:counters", "transactions", 100).unwrap();
    let _: () = at.hset("fraud:position", "next_offset", 101).unwrap();
    run(&log, &mut || {});
    assert_eq!(field(&mut at, "fraud:counters", "transactions"), 200);
    // Everything is lost while the sink runs: it goes on from where it stands, under a new epoch.
    let stop = Stop::default();
    let handle = spawn_redis(&settings, &log.settings, None, &stop).unwrap();
    reach(&handle, log.flush());
    redis::cmd("FLUSHDB").exec(&mut at).unwrap();
    log.decide(200..250);
    reach(&handle, log.flush());
    stop.set();
    handle.join();
    assert_eq!(field(&mut at, "fraud:counters", "transactions"), 50);
    let new: String = at.hget("fraud:position", "epoch").unwrap();
    assert_ne!(new, epoch);
    assert_eq!(field(&mut at, "fraud:position", "epoch_offset"), 201);
}

#[test]
#[ignore = "needs servers: tests/integration/test_rust_sinks.py starts them"]
fn two_writers_a_cut_and_a_hang_count_every_decision_once() {
    let (mut settings, mut log) = (redis_settings(903), Log::new());
    let mut at = connection(&settings);
    let server = settings.url.clone();
    let target = server.trim_start_matches("redis://").split_once('/').unwrap().0.to_owned();
    let proxy = Proxy::new(target.clone());
    settings.url = server.replace(&target, &format!("127.0.0.1:{}", proxy.port));
    let stop = Stop::default();
    let handles: Vec<_> =
        (0..2).map(|_| spawn_redis(&settings, &log.settings, None, &stop).unwrap()).collect();
    let all = |end: i64| {
        wait_until("all is counted", || handles.iter().all(|handle| first(handle).next_offset >= end));
    };
    log.decide(0..1_000);
    all(log.flush());
    proxy.cut();
    log.decide(1_000..50_000);
    let end = log.flush();
    wait_until("the outage is told", || {
        handles.iter().any(|handle| first(handle).state == SinkState::Retrying)
    });
    proxy.restore();
    all(end);
    proxy.freeze();
    log.decide(50_000..60_000);
    let end = log.flush();
    wait_until("the hang is told", || {
        handles.iter().any(|handle| first(handle).state == SinkState::Retrying)
    });
    proxy.restore();
    all(end);
    stop.set();
    handles.into_iter().for_each(fraudengine_runtime::sink::SinkHandle::join);
    assert_eq!(field(&mut at, "fraud:counters", "transactions"), 60_000);
    assert_eq!(field(&mut at, "fraud:latency", "count"), 60_000);
}
