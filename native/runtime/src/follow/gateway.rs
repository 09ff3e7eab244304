//! Takes calls in, hands their transactions to the stream, and carries the answers away.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fraudengine_core::event::CurrencyTable;

use super::answer::{self, NoAnswer};
use super::calls::{Asked, Calls, Counts, Overdue, Target};
use super::follower::Follower;
use super::replica::{Blind, Replica};
use super::settings::ServeSettings;
use crate::generate::record;
use crate::kafka::{KafkaError, Producer, Record};
use crate::metrics::now_micros;
use crate::payload::Format;
use crate::payload::reasons::FeatureNames;
use crate::scoring::{Refusal, degraded, read};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::stream::{ActiveModel, StreamError};

/// How often acknowledgements of the broker are looked for while some are missing.
const LOOK: Duration = Duration::from_millis(10);
/// Between two attempts to make a producer anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The producer's only topic.
const TRANSACTIONS: usize = 0;

/// What a message is told at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// An encoded `Decision`.
    Answered(Vec<u8>),
    /// It was refused and went nowhere.
    Refused(Refusal),
    /// The answer comes with its ticket.
    Later,
}

struct Sender {
    producer: Option<Producer>,
    made: Instant,
}

/// See the module's text.
pub struct Gateway {
    settings: Settings,
    calls: Arc<Calls>,
    replica: Arc<Replica>,
    sender: Mutex<Sender>,
    currencies: CurrencyTable,
    names: FeatureNames,
    no_answer: NoAnswer,
    ahead_micros_max: i64,
    in_flight_max: usize,
    /// Records that the broker has not acknowledged.
    unacknowledged: AtomicUsize,
    tickets: AtomicU64,
    stop: Stop,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Gateway {
    /// Starts the follower; the broker need not be there yet.
    pub fn start(settings: Settings, serve: &ServeSettings) -> Result<Self, StreamError> {
        // The settings of the client are checked now, whether or not there is a broker.
        let producer = producer(&settings)?;
        let calls = Arc::new(Calls::new(serve));
        let replica = Arc::new(Replica::new(serve.warm_transactions));
        let stop = Stop::default();
        let follower = Follower {
            settings: settings.clone(),
            lag_max: serve.lag_records_max,
            calls: Arc::clone(&calls),
            replica: Arc::clone(&replica),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("follower".to_owned())
            .spawn(move || follower.run())
            .map_err(|_| StreamError::Thread("follower"))?;
        Ok(Self {
            currencies: settings.engine.currencies()?,
            ahead_micros_max: (settings.engine.ahead_seconds_max * 1e6) as i64,
            settings,
            calls,
            replica,
            sender: Mutex::new(Sender { producer: Some(producer), made: Instant::now() }),
            names: FeatureNames::default(),
            no_answer: serve.no_answer(),
            in_flight_max: serve.in_flight_max,
            unacknowledged: AtomicUsize::new(0),
            tickets: AtomicU64::new(1),
            stop,
            follower: Mutex::new(Some(thread)),
        })
    }

    /// Looks with this model from now on.
    pub fn activate(&self, model: ActiveModel) {
        self.replica.model.set(model);
    }

    /// A number that no other call has.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes messages in (each a bare `Transaction`), with where their answers go and until when they are wanted.
    pub fn ask<'m>(
        &self,
        messages: impl IntoIterator<Item = (&'m [u8], Target, Option<Duration>)>,
    ) -> Vec<Told> {
        let (now, micros) = (Instant::now(), now_micros());
        // Keys, values and ids of what is handed over.
        let mut out: Vec<(Vec<u8>, Vec<u8>, u64)> = Vec::new();
        let format = self.settings.kafka.transactions_format;
        let waiting = self.unacknowledged.load(Ordering::Relaxed);
        let mut ask_one = |(message, target, left): (&'m [u8], Target, Option<Duration>)| {
            let (raw, row) = match read(message, &self.currencies, micros, self.ahead_micros_max) {
                Ok(read) => read,
                Err(refusal) => return Told::Refused(refusal),
            };
            let room = waiting + out.len() < self.in_flight_max;
            let id = raw.transaction_id.unwrap_or_default();
            match self.calls.ask(&row, id, target, left.map(|left| now + left), now, room) {
                Asked::Known(answer) => return Told::Answered(answer),
                Asked::Waits => return Told::Later,
                Asked::Send => {}
            }
            let mut value = Vec::with_capacity(message.len());
            match format {
                Format::Protobuf => value.extend_from_slice(message),
                Format::Json => record::transaction(format, &raw, &mut value),
            }
            out.push((raw.customer_id.unwrap_or_default().as_bytes().to_vec(), value, row.id.get()));
            Told::Later
        };
        let told = messages.into_iter().map(&mut ask_one).collect();
        self.send(&out);
        told
    }

    /// Takes a batch in; its answer, a `ScoreBatchResponse`, comes with the ticket.
    pub fn ask_batch(&self, ticket: u64, messages: &[&[u8]], left: Option<Duration>) {
        self.calls.begin_batch(ticket, messages.len());
        let asked =
            messages.iter().enumerate().map(|(at, message)| (*message, Target::Batch(ticket, at), left));
        for (at, told) in self.ask(asked).into_iter().enumerate() {
            match told {
                Told::Answered(answer) => self.calls.fill(ticket, at, Ok(answer)),
                Told::Refused(refusal) => self.calls.fill(ticket, at, Err(refusal)),
                Told::Later => {}
            }
        }
    }

    fn send(&self, records: &[(Vec<u8>, Vec<u8>, u64)]) {
        if records.is_empty() {
            return;
        }
        let mut sender = self.sender();
        if sender.producer.is_none() && sender.made.elapsed() > PAUSE {
            sender.made = Instant::now();
            sender.producer = producer(&self.settings).ok();
        }
        let all = records.iter().map(|(key, value, id)| Record { key, value, tag: *id });
        let sent = sender.producer.as_mut().is_some_and(|producer| {
            let sent = producer.send_by_key(TRANSACTIONS, all);
            sent.inspect_err(|error| tracing::warn!(target: "follow", "{error}")).is_ok()
        });
        if sent {
            self.unacknowledged.fetch_add(records.len(), Ordering::Relaxed);
        } else {
            self.lose(&mut sender);
            for (_, _, id) in records {
                self.calls.unsent(*id);
            }
        }
    }

    /// The producer cannot be used any more; what it had not delivered is lost, and what was answered was marked.
    fn lose(&self, sender: &mut Sender) {
        if sender.producer.take().is_some() {
            sender.made = Instant::now();
        }
        self.unacknowledged.store(0, Ordering::Relaxed);
    }

    fn sender(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for answers up to a time; the messages by ticket. Called by one thread again and again: it also answers
    /// those for whom the stream comes too late.
    pub fn take(&self, wait: Duration) -> Vec<(u64, Vec<u8>)> {
        let end = Instant::now() + wait;
        loop {
            self.acknowledge();
            let overdue = self.calls.overdue(Instant::now());
            if !overdue.is_empty() {
                self.calls.finish(self.without_the_stream(&overdue));
            }
            let look = self.unacknowledged.load(Ordering::Relaxed) > 0;
            let until = if look { end.min(Instant::now() + LOOK) } else { end };
            let done = self.calls.take(until);
            if !done.is_empty() || Instant::now() >= end || self.stop.is_set() {
                return done;
            }
        }
    }

    /// Takes the broker's acknowledgements.
    fn acknowledge(&self) {
        if self.unacknowledged.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut sender = self.sender();
        let mut deliveries = Vec::new();
        let Some(producer) = &mut sender.producer else { return };
        let result = producer.deliveries(0, |delivery| {
            deliveries.push((delivery.tag, delivery.partition, delivery.offset));
        });
        self.unacknowledged.fetch_sub(deliveries.len(), Ordering::Relaxed);
        if let Err(error) = result {
            tracing::warn!(target: "follow", "{error}");
            self.lose(&mut sender);
        }
        drop(sender);
        for (id, partition, offset) in deliveries {
            self.calls.delivered(id, partition, offset);
        }
    }

    fn without_the_stream(&self, overdue: &[Overdue]) -> Vec<(Target, Vec<u8>)> {
        let rows: Vec<_> = overdue.iter().map(|each| each.row).collect();
        let look = self.replica.look(&rows);
        let now = now_micros();
        let answer = |(at, each): (usize, &Overdue)| {
            self.calls.counts.degraded[usize::from(each.why)].fetch_add(1, Ordering::Relaxed);
            let Overdue { row, id, why, target } = each;
            let bytes = match &look {
                Ok(look) => answer::of_look(look, at, id, row, *why, &self.names, now),
                Err(blind) => {
                    let missing = match blind {
                        Blind::State => degraded::COLD_STATE,
                        Blind::Model => degraded::MODEL_MISSING,
                    };
                    answer::of_nothing(id, row, self.no_answer, &[*why, missing], now)
                }
            };
            (*target, bytes)
        };
        overdue.iter().enumerate().map(answer).collect()
    }

    /// The follower's state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What was answered.
    pub fn counts(&self) -> &Counts {
        &self.calls.counts
    }

    /// Transactions under way, how long the oldest has been, records that the broker has not acknowledged.
    pub fn under_way(&self) -> (usize, Duration, usize) {
        let (count, oldest) = self.calls.under_way();
        (count, oldest, self.unacknowledged.load(Ordering::Relaxed))
    }

    /// Waits until the broker has everything, for so long at most, and ends the threads. Returns how many records it
    /// does not have.
    pub fn close(&self, wait: Duration) -> usize {
        let end = Instant::now() + wait;
        while self.unacknowledged.load(Ordering::Relaxed) > 0 && Instant::now() < end {
            self.acknowledge();
            Stop::default().sleep(LOOK);
        }
        self.stop.set();
        self.calls.wake();
        if let Some(thread) = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        self.unacknowledged.load(Ordering::Relaxed)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

fn producer(settings: &Settings) -> Result<Producer, KafkaError> {
    Producer::new(&settings.kafka, 0.0, &settings.output.compression, &[&settings.kafka.transactions_topic])
}
