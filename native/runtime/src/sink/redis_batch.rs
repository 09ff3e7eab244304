//! What one flush writes to Redis, as plain commands. `docs/contract.md` describes every key.

use std::collections::{BTreeMap, VecDeque};

use fraudengine_core::event::RawTransaction;

use super::redis_profile::Profiles;
use super::rows::{json_number, json_text, latency_micros, reasons_json};
use super::settings::RedisSettings;
use super::worker::Counts;
use crate::payload::record::DecisionView;

/// Upper bounds of the latency buckets in microseconds; beyond the last one is `inf`.
pub(super) const LATENCY_BOUNDS_MICROS: [u64; 20] = [
    250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 25_000, 50_000, 75_000, 100_000,
    250_000, 500_000, 1_000_000, 5_000_000, 15_000_000, 60_000_000,
];
/// Newest decisions of a flush that go to the feed: it is for eyes, not for machines.
const FEED_PER_FLUSH: usize = 50;
/// Newest alerts of a flush that go to the alert feed; all of them are in Postgres and in the topic.
const ALERTS_PER_FLUSH: usize = 500;
/// How long a minute's figures are kept.
const MINUTE_TTL_SECONDS: u64 = 25 * 3_600;

/// Position of the writer, and which run of the counters this is.
pub(super) const POSITION: &str = "fraud:position";
const COUNTERS: &str = "fraud:counters";
const LATENCY: &str = "fraud:latency";
const FEED: &str = "fraud:feed";
const ALERTS: &str = "fraud:alerts";
const LIVE: &str = "fraud:live";
const ALERTS_LIVE: &str = "fraud:alerts:live";

/// Name of an action.
pub(super) const fn action_name(action: i32) -> &'static str {
    match action {
        1 => "approve",
        3 => "block",
        // Never sent is to be treated as review.
        _ => "review",
    }
}

/// A score as a field: empty when there was no model.
pub(super) fn score_text(score: f32) -> String {
    if score.is_finite() { score.to_string() } else { String::new() }
}

/// Counts by field of a hash.
type Fields = BTreeMap<String, i64>;

/// What is counted of one minute: decisions, then those of each action; and their latencies by bucket.
#[derive(Debug, Default)]
struct Tally {
    counts: [i64; 4],
    latency: [i64; LATENCY_BOUNDS_MICROS.len() + 1],
}

/// The batch in hand.
#[derive(Debug, Default)]
pub(super) struct Batch {
    counters: Fields,
    minutes: BTreeMap<i64, Fields>,
    latency_sum: u64,
    feed: VecDeque<Vec<u8>>,
    alerts: VecDeque<Vec<u8>>,
    profiles: Profiles,
    pub counts: Counts,
    amounts: Vec<(i64, i32, [u8; 3], i64)>,
    tallies: BTreeMap<i64, Tally>,
    late: i64,
    coarse: i64,
    without_model: i64,
    pub repeated: i64,
}

impl Batch {
    /// Forgets everything, keeps most of the memory.
    pub fn clear(&mut self) {
        let mut profiles = std::mem::take(&mut self.profiles);
        profiles.clear();
        *self = Self { profiles, ..Self::default() };
    }

    /// Takes in a decision that counts.
    pub fn take(
        &mut self,
        view: &DecisionView<'_>,
        raw: &RawTransaction<'_>,
        offset: i64,
        settings: &RedisSettings,
    ) {
        self.counts.rows += 1;
        let minute = view.decided_time_micros.div_euclid(60_000_000);
        let tally = self.tallies.entry(minute).or_default();
        tally.counts[0] += 1;
        let slot = match action_name(view.action) {
            "approve" => 1,
            "review" => 2,
            _ => 3,
        };
        tally.counts[slot] += 1;
        let micros = latency_micros(view) as u64;
        tally.latency[LATENCY_BOUNDS_MICROS.partition_point(|&bound| bound < micros)] += 1;
        self.latency_sum += micros;
        self.late += i64::from(view.flags & 2 != 0);
        self.coarse += i64::from(view.flags & 4 != 0);
        self.without_model += i64::from(view.flags & 8 != 0);
        self.count_amount(minute, view.action, raw);
        let flagged = view.action != 1;
        self.feed_with(view, raw, offset, flagged);
        if settings.profiles_per_second_max > 0 {
            self.profiles.take(view, raw, budget(settings));
        }
    }

    /// Few currencies and one or two minutes: a short list that is searched is the cheapest map.
    fn count_amount(&mut self, minute: i64, action: i32, raw: &RawTransaction<'_>) {
        let mut currency = *b"---";
        if let Some(code) = raw.currency.and_then(|code| code.as_bytes().first_chunk::<3>()) {
            currency = *code;
        }
        let amount = raw.amount_minor.unwrap_or_default();
        let known =
            self.amounts.iter_mut().find(|(at, of, code, _)| (*at, *of, *code) == (minute, action, currency));
        match known {
            Some((.., sum)) => *sum += amount,
            None => self.amounts.push((minute, action, currency, amount)),
        }
    }

    fn feed_with(&mut self, view: &DecisionView<'_>, raw: &RawTransaction<'_>, offset: i64, flagged: bool) {
        // Texts are made for those that will be shown: every alert, and one decision in so many.
        if flagged {
            let json = entry(view, raw, offset, true, reuse(&mut self.alerts, ALERTS_PER_FLUSH));
            self.alerts.push_back(json);
        }
        if self.feed.len() < FEED_PER_FLUSH || self.counts.rows.is_multiple_of(64) {
            let json = entry(view, raw, offset, false, reuse(&mut self.feed, FEED_PER_FLUSH));
            self.feed.push_back(json);
        }
    }

    /// The batch as commands, each a list of words.
    pub fn commands(&mut self, settings: &RedisSettings, now_ms: i64) -> Vec<Vec<Vec<u8>>> {
        self.add_up();
        let mut out = Vec::new();
        increments(COUNTERS, &self.counters, &mut out);
        self.latency_commands(&mut out);
        for (minute, fields) in &self.minutes {
            let key = format!("fraud:minute:{minute}");
            increments(&key, fields, &mut out);
            out.push(words(&["EXPIRE", &key, &MINUTE_TTL_SECONDS.to_string()]));
        }
        let length = settings.feed_length.to_string();
        for (key, entries) in [(FEED, &self.feed), (ALERTS, &self.alerts)] {
            for json in entries {
                let mut command = words(&["XADD", key, "MAXLEN", "~", &length, "*", "json"]);
                command.push(json.clone());
                out.push(command);
            }
        }
        self.profile_commands(settings, &mut out);
        for json in &self.alerts {
            out.push(vec![b"PUBLISH".to_vec(), ALERTS_LIVE.into(), json.clone()]);
        }
        out.push(words(&["PUBLISH", LIVE, &self.summary(now_ms)]));
        out
    }

    /// From the tallies to fields of hashes.
    fn add_up(&mut self) {
        self.counters.clear();
        self.minutes.clear();
        let names = ["transactions", "approved", "reviewed", "blocked"];
        for (minute, tally) in &self.tallies {
            let fields = self.minutes.entry(*minute).or_default();
            for (name, count) in names.iter().zip(tally.counts) {
                *self.counters.entry((*name).to_owned()).or_default() += count;
                *fields.entry((*name).to_owned()).or_default() += count;
            }
            for (name, count) in bucket_names().zip(tally.latency) {
                fields.insert(format!("latency:{name}"), count);
            }
        }
        for (minute, action, currency, amount) in &self.amounts {
            let currency = str::from_utf8(currency).unwrap_or("---");
            let field = format!("amount_minor:{}:{currency}", action_name(*action));
            *self.counters.entry(field.clone()).or_default() += amount;
            *self.minutes.entry(*minute).or_default().entry(field).or_default() += amount;
        }
        for (name, count) in [
            ("late", self.late),
            ("coarse", self.coarse),
            ("without_model", self.without_model),
            ("repeated", self.repeated),
        ] {
            self.counters.insert(name.to_owned(), count);
        }
    }

    fn latency_commands(&self, out: &mut Vec<Vec<Vec<u8>>>) {
        let mut fields = Fields::new();
        for tally in self.tallies.values() {
            for (name, count) in bucket_names().zip(tally.latency) {
                *fields.entry(name).or_default() += count;
            }
        }
        fields.insert("sum_micros".to_owned(), self.latency_sum as i64);
        fields.insert("count".to_owned(), self.counts.rows as i64);
        increments(LATENCY, &fields, out);
    }

    fn profile_commands(&mut self, settings: &RedisSettings, out: &mut Vec<Vec<Vec<u8>>>) {
        let (chosen, skipped) = self.profiles.chosen(budget(settings));
        let ttl = settings.profile_ttl_seconds.to_string();
        for (customer, profile) in chosen {
            let key = format!("fraud:profile:{customer}");
            let mut set = words(&["HSET", &key]);
            for (name, value) in profile.fields() {
                set.extend([name.as_bytes().to_vec(), value.into_bytes()]);
            }
            out.push(set);
            for (name, count) in [
                ("transactions", profile.transactions),
                ("flagged", profile.flagged),
                ("blocked", profile.blocked),
            ] {
                if count > 0 {
                    out.push(words(&["HINCRBY", &key, name, &count.to_string()]));
                }
            }
            let scores: Vec<_> =
                profile.scores.iter().filter(|score| score.is_finite()).map(f32::to_string).collect();
            if !scores.is_empty() {
                out.push(words(&["SCORES", &key, &scores.join(",")]));
            }
            out.push(words(&["EXPIRE", &key, &ttl]));
        }
        self.counts.profiles_skipped = skipped;
        if skipped > 0 {
            out.push(words(&["HINCRBY", COUNTERS, "profiles_skipped", &skipped.to_string()]));
        }
    }

    /// The message to `fraud:live`.
    fn summary(&self, now_ms: i64) -> String {
        let of = |name: &str| self.counters.get(name).copied().unwrap_or(0);
        format!(
            "{{\"time_ms\":{now_ms},\"transactions\":{},\"approved\":{},\"reviewed\":{},\"blocked\":{}}}",
            of("transactions"),
            of("approved"),
            of("reviewed"),
            of("blocked")
        )
    }
}

/// Names of the latency buckets: their upper bounds, in order.
fn bucket_names() -> impl Iterator<Item = String> {
    LATENCY_BOUNDS_MICROS.iter().map(u64::to_string).chain(["inf".to_owned()])
}

/// Customers that one flush may write.
fn budget(settings: &RedisSettings) -> usize {
    (settings.profiles_per_second_max * settings.flush_ms).div_ceil(1_000) as usize
}

/// Memory for one more entry: that of the oldest one when the list is full.
fn reuse(list: &mut VecDeque<Vec<u8>>, most: usize) -> Vec<u8> {
    let mut memory = if list.len() >= most { list.pop_front().unwrap_or_default() } else { Vec::new() };
    memory.clear();
    memory
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn increments(key: &str, fields: &Fields, out: &mut Vec<Vec<Vec<u8>>>) {
    for (name, count) in fields {
        if *count != 0 {
            out.push(words(&["HINCRBY", key, name, &count.to_string()]));
        }
    }
}

/// One decision as the feeds show it.
fn entry(
    view: &DecisionView<'_>,
    raw: &RawTransaction<'_>,
    offset: i64,
    with_reasons: bool,
    mut json: Vec<u8>,
) -> Vec<u8> {
    json.extend_from_slice(b"{\"transaction_id\":");
    json_text(raw.transaction_id.unwrap_or_default(), &mut json);
    for (name, text) in [
        ("customer_id", raw.customer_id),
        ("merchant_id", raw.merchant_id),
        ("currency", raw.currency),
        ("country", raw.country),
        ("channel", raw.channel),
        ("action", Some(action_name(view.action))),
    ] {
        json.extend_from_slice(format!(",\"{name}\":").as_bytes());
        match text {
            Some(text) => json_text(text, &mut json),
            None => json.extend_from_slice(b"null"),
        }
    }
    let numbers = format!(
        ",\"amount_minor\":{},\"event_time_micros\":{},\"decided_time_micros\":{},\"latency_micros\":{},\"flags\":{},\"decision_offset\":{offset},\"score\":",
        raw.amount_minor.unwrap_or_default(),
        raw.event_time_micros.unwrap_or_default(),
        view.decided_time_micros,
        latency_micros(view),
        view.flags
    );
    json.extend_from_slice(numbers.as_bytes());
    json_number(view.score, &mut json);
    if with_reasons {
        json.extend_from_slice(b",\"reasons\":");
        reasons_json(view.reasons(), &mut json);
    }
    json.push(b'}');
    json
}
