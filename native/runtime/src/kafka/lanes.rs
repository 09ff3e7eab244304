//! A consumer with a queue of its own for each partition, so that its user decides from which one to take next.
//!
//! One queue for all hands out whatever the broker sent first: in a backlog, days of one partition before the first
//! hour of another. Like [`Consumer`](super::Consumer) it joins no group and commits nothing.

use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::consumer::{Message, Messages, Polled, Position, Queue};
use super::handle::{Handle, KafkaError, Role, c_text};
use super::settings::KafkaSettings;

/// See the module's text.
#[derive(Debug)]
pub struct Lanes {
    // Dropped in this order: messages and queues, then the client.
    all: Vec<Lane>,
    signal: Arc<Signal>,
    handle: Handle,
}

#[derive(Debug)]
struct Lane {
    messages: Messages,
    queue: Queue,
    /// Known to librdkafka by its address, so it stays where it is until the queue's callback is gone.
    flag: Box<Flag>,
    topic: CString,
    partition: i32,
}

/// Says that a lane's queue is not empty.
#[derive(Debug)]
struct Flag {
    ready: AtomicBool,
    signal: Arc<Signal>,
}

/// Wakes whoever waits for any lane.
#[derive(Debug, Default)]
struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Returns whether it was raised within the time.
    fn wait(&self, timeout: Duration) -> bool {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(raised, timeout, |raised| !*raised);
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Called by librdkafka's threads when an empty queue gets something.
unsafe extern "C" fn notice(_client: *mut sys::rd_kafka_t, flag: *mut c_void) {
    // SAFETY: the pointer was made from a lane's flag, which outlives the callback (see `Drop for Lane`).
    let flag = unsafe { &*flag.cast_const().cast::<Flag>() };
    flag.ready.store(true, Ordering::Release);
    flag.signal.raise();
}

impl Drop for Lane {
    fn drop(&mut self) {
        // SAFETY: the queue is valid. Callbacks run under the queue's lock, which this call takes: when it returns,
        // none is running and none will come, so the flag may go.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.0.as_ptr(), None, null_mut()) };
    }
}

impl Lanes {
    /// Begins to read; a lane's number is its place in the list.
    pub fn new(settings: &KafkaSettings, positions: &[Position]) -> Result<Self, KafkaError> {
        let mut handle = Handle::new(Role::Consumer, &settings.consumer_properties())?;
        let signal = Arc::new(Signal::default());
        let lanes = positions.iter().map(|position| lane(&mut handle, &signal, position));
        let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { all: lanes, signal, handle })
    }

    /// The client, for questions about topics.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Takes up to `max` records of a lane if there are any. Those of its last poll are gone.
    pub fn poll(&mut self, lane: usize, max: usize) -> Result<Polled, KafkaError> {
        let Lane { messages, queue, flag, .. } = &mut self.all[lane];
        messages.release();
        // Cleared before the queue is looked at: what comes after that look sets it again.
        if !flag.ready.swap(false, Ordering::Acquire) {
            return Ok(Polled::Records(0));
        }
        if messages.take(queue, max, 0) == max {
            flag.ready.store(true, Ordering::Relaxed);
        }
        messages.sorted(&self.handle)
    }

    /// A record of a lane's last poll.
    pub fn message(&self, lane: usize, at: usize) -> Message<'_> {
        self.all[lane].messages.record(at)
    }

    /// Offset after the last record of a lane's partition, as far as the client has heard.
    pub fn end_heard(&self, lane: usize) -> Option<i64> {
        self.handle.end_heard_of(&self.all[lane].topic, self.all[lane].partition)
    }

    /// Waits until some lane may have records, or the time is up.
    pub fn wait(&self, timeout: Duration) {
        if !self.signal.wait(timeout) {
            // A look that finds nothing is cheap; a wake-up that got lost would not be.
            self.all.iter().for_each(|lane| lane.flag.ready.store(true, Ordering::Relaxed));
        }
    }
}

fn lane(handle: &mut Handle, signal: &Arc<Signal>, position: &Position) -> Result<Lane, KafkaError> {
    let topic = c_text("begin to read", &position.topic)?;
    // SAFETY: the handle is valid; the queue is released before it.
    let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(handle.as_ptr()) }).map(Queue);
    let queue = queue
        .ok_or_else(|| KafkaError::Call { call: "begin to read", reason: "there is no queue".to_owned() })?;
    let flag = Box::new(Flag { ready: AtomicBool::new(true), signal: Arc::clone(signal) });
    let opaque: *const Flag = &raw const *flag;
    // SAFETY: queue and flag live until the lane is dropped, which takes the callback back.
    unsafe { sys::rd_kafka_queue_cb_event_enable(queue.0.as_ptr(), Some(notice), opaque.cast_mut().cast()) };
    let lane = Lane { messages: Messages::default(), queue, flag, topic, partition: position.partition };
    handle.start_reading(&lane.topic, lane.partition, position.offset, lane.queue.0)?;
    Ok(lane)
}
