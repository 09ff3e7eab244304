//! The seat: which process of a consumer group is the one that decides.
//!
//! All partitions belong to one process, because the windows of merchants, devices and addresses cross
//! partitions. So the processes of a group do not share partitions: they compete for the single
//! partition of the decisions topic, and whoever is assigned it has the seat and reads everything. A second
//! process stands by and is seated when the first one's session ends. The assignment only says whose turn it is;
//! that two processes which both believe to be seated do no harm is the business of the generation markers in
//! the log (see `stream::recovery`).
//!
//! A process is a static member of the group (its instance is its state folder), so one that is restarted
//! gets its seat back at once instead of waiting for the session of its dead self to end.
//!
//! The seat also commits how far the transactions have been decided, for tools that show a group's lag. Nothing
//! is ever resumed from these offsets.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consumer::Position;
use super::handle::{KafkaError, has_ended};
use super::settings::KafkaSettings;

/// How long the group waits for a process that must stand up: below the session timeout of the other members.
const STAND_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

/// Where this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatState {
    /// Another process decides, or the group has not met yet.
    StandingBy,
    /// This process decides.
    Seated,
    /// This process must finish what is in flight and stand up.
    MustStandUp,
    /// The client cannot go on; a new seat must be asked for.
    Lost(String),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    seat: SeatState,
    stop: bool,
    /// Offsets to be committed next.
    commit: Option<Vec<Position>>,
    /// Those that were sent last; none when they did not arrive.
    committed: Option<Vec<Position>>,
    /// Whether to leave the group for good where others wait.
    leave: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, seat: SeatState) {
        self.lock().seat = seat;
        self.changed.notify_all();
    }
}

/// A membership; dropping it leaves the group.
#[derive(Debug)]
pub struct Seat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Says nothing; its other side is dropped when the thread is done with the client.
    ended: mpsc::Receiver<()>,
}

struct Context {
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn log(&self, _level: rdkafka::config::RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::info!(target: "kafka", %facility, "{line}");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        // Comes forty times a second as long as no broker answers; `attend` says it now and then.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::info!(target: "kafka", %error, "{reason}");
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(partitions) = rebalance else { return };
        if partitions.count() == 0 {
            return;
        }
        let mut state = self.shared.lock();
        if state.seat != SeatState::Seated {
            return;
        }
        state.seat = SeatState::MustStandUp;
        self.shared.changed.notify_all();
        // The partition stays ours until this returns, so that the work in flight ends in order.
        let waiting = |state: &mut State| state.seat == SeatState::MustStandUp && !state.stop;
        let waited = self.shared.changed.wait_timeout_while(state, STAND_UP_TIMEOUT, waiting);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            tracing::warn!(
                "the stream did not stand up in time; the next process is fenced off by its marker"
            );
        }
        state.seat = SeatState::StandingBy;
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) if partitions.count() > 0 => {
                // Read through another consumer; this one only holds the seat.
                if let Err(error) = consumer.pause(partitions) {
                    tracing::warn!(%error, "the seat's partition could not be paused");
                }
                self.shared.set(SeatState::Seated);
            }
            Rebalance::Error(error) => tracing::warn!(%error, "the group could not be rebalanced"),
            Rebalance::Assign(_) | Rebalance::Revoke(_) => {}
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed");
            self.shared.lock().committed = None;
        }
    }
}

impl Seat {
    /// Joins the group; `instance` names this process across restarts.
    pub fn join(settings: &KafkaSettings, instance: &str) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        for (key, value) in settings.seat_properties() {
            config.set(key, value);
        }
        config.set("group.instance.id", instance);
        let seat = SeatState::StandingBy;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { seat, stop: false, commit: None, committed: None, leave: false }),
            changed: Condvar::new(),
        });
        let failed = |call| {
            move |error: rdkafka::error::KafkaError| KafkaError::Call { call, reason: error.to_string() }
        };
        let context = Context { shared: Arc::clone(&shared) };
        let consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(failed("join the group"))?;
        consumer.subscribe(&[&settings.decisions_topic]).map_err(failed("join the group"))?;
        let (own, group) = (Arc::clone(&shared), settings.group.clone());
        let (done, ended) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("seat".to_owned())
            .spawn(move || {
                attend(&consumer, &own, &group);
                drop(consumer);
                drop(done);
            })
            .map_err(|error| KafkaError::Call { call: "start a thread", reason: error.to_string() })?;
        Ok(Self { shared, thread: Some(thread), ended })
    }

    /// Where this process stands.
    pub fn state(&self) -> SeatState {
        self.shared.lock().seat.clone()
    }

    /// Waits until the state is not what it was, or the time is up; returns the state.
    pub fn wait_while(&self, was: &SeatState, timeout: Duration) -> SeatState {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, timeout, |state| state.seat == *was);
        waited.unwrap_or_else(PoisonError::into_inner).0.seat.clone()
    }

    /// Says that nothing is in flight any more, so that another process may sit down.
    pub fn stood_up(&self) {
        let mut state = self.shared.lock();
        if state.seat == SeatState::MustStandUp {
            state.seat = SeatState::StandingBy;
            self.shared.changed.notify_all();
        }
    }

    /// Gives the seat to another process of the group at once, if there is one. Without this a static member that ends
    /// keeps its seat until its session is over, which is right for a restart only.
    pub fn leave_to_others(&self) {
        self.shared.lock().leave = true;
    }

    /// Commits offsets soon, unless they are committed; a later call replaces one that has not been served yet.
    ///
    /// A commit that no coordinator answers holds the client back from ending, and in an outage there is nothing new.
    pub fn commit(&self, offsets: Vec<Position>) {
        let mut state = self.shared.lock();
        if state.committed.as_ref() != Some(&offsets) {
            state.commit = Some(offsets);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && has_ended(&self.ended)
            && thread.join().is_err()
        {
            tracing::error!("the thread of the seat panicked");
        }
    }
}

/// Polls until told to stop: polling is what keeps the membership alive and serves the rebalances.
fn attend(consumer: &BaseConsumer<Context>, shared: &Shared, group: &str) {
    let mut last_trouble = Instant::now();
    loop {
        let (commit, stop, leave) = {
            let mut state = shared.lock();
            (state.commit.take(), state.stop, state.leave)
        };
        if stop {
            if leave {
                leave_if_others_wait(consumer, group);
            }
            return;
        }
        if let Some(offsets) = commit
            && commit_offsets(consumer, &offsets)
        {
            shared.lock().committed = Some(offsets);
        }
        // Nothing is expected of a paused partition; what slips through before the pause is not needed.
        let Some(Err(error)) = consumer.poll(POLL) else { continue };
        if let Some((code, text)) = consumer.client().fatal_error() {
            shared.set(SeatState::Lost(format!("{code}: {text}")));
            return;
        }
        if last_trouble.elapsed() > Duration::from_secs(10) {
            tracing::warn!(%error, "the group cannot be reached");
            last_trouble = Instant::now();
        }
    }
}

fn leave_if_others_wait(consumer: &BaseConsumer<Context>, group: &str) {
    let members = consumer
        .fetch_group_list(Some(group), LEAVE_TIMEOUT)
        .map(|list| list.groups().iter().map(|each| each.members().len()).sum::<usize>());
    match members {
        Ok(0 | 1) => return,
        Ok(_) => consumer.unsubscribe(),
        Err(error) => {
            tracing::debug!(%error, "the group could not be asked; its session ends by itself");
            return;
        }
    }
    // The request goes out from another thread of the client; closing it first would drop it.
    let until = Instant::now() + LEAVE_TIMEOUT;
    while Instant::now() < until && consumer.assignment().is_ok_and(|held| held.count() > 0) {
        let _ = consumer.poll(POLL);
    }
}

/// Sends offsets to the coordinator; false when they were not sent. Whether they arrived is for the callback to tell.
fn commit_offsets(consumer: &BaseConsumer<Context>, offsets: &[Position]) -> bool {
    let mut list = TopicPartitionList::new();
    for position in offsets {
        let offset = Offset::Offset(position.offset);
        if let Err(error) = list.add_partition_offset(&position.topic, position.partition, offset) {
            tracing::warn!(%error, "an offset could not be committed");
        }
    }
    let sent = consumer.commit(&list, CommitMode::Async);
    if let Err(error) = &sent {
        // Only a display depends on it, and the next commit comes within a second.
        tracing::debug!(%error, "offsets could not be committed");
    }
    sent.is_ok()
}
