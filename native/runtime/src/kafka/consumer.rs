//! A consumer of explicitly assigned partitions that hands out records in batches.
//!
//! It joins no group and commits nothing: whoever uses it knows where to read (a snapshot, a log, a row in
//! a database) and says so.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;
use std::slice;

use rdkafka::bindings as sys;

use super::handle::{Handle, KafkaError, OK, Role, c_text, check, describe};
use super::settings::KafkaSettings;

/// Where to begin in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset of the first record to read.
    pub offset: i64,
}

/// See the module's text.
#[derive(Debug)]
pub struct Consumer {
    // Dropped in this order: messages, then the queue, then the client.
    messages: Messages,
    queue: Queue,
    handle: Handle,
}

/// A queue of librdkafka, released when it is dropped.
#[derive(Debug)]
pub(super) struct Queue(pub(super) NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are thread-safe like its clients.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: whoever made this value obtained the queue for it; released once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// Messages taken from a queue, released when they are dropped.
#[derive(Debug, Default)]
pub(super) struct Messages(Vec<*mut sys::rd_kafka_message_t>);

// SAFETY: a message belongs to whoever took it from the queue and may be released on any thread.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn release(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: taken from the queue by `take`, released once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }

    /// Appends up to `max` messages, waiting up to `timeout_ms` until there are so many.
    pub(super) fn take(&mut self, queue: &Queue, max: usize, timeout_ms: i32) -> usize {
        self.0.reserve(max);
        let before = self.0.len();
        // SAFETY: the vector has room for `max` more pointers; the call says how many it wrote.
        unsafe {
            let place = self.0.as_mut_ptr().add(before);
            let taken = sys::rd_kafka_consume_batch_queue(queue.0.as_ptr(), timeout_ms, place, max);
            let taken = usize::try_from(taken).unwrap_or(0);
            self.0.set_len(before + taken);
            taken
        }
    }

    /// Tells records from errors: errors come through the queue like records. Only the records are kept.
    pub(super) fn sorted(&mut self, handle: &Handle) -> Result<Polled, KafkaError> {
        // They are rare, so the usual case is one scan.
        // SAFETY: the pointers were written by librdkafka.
        let bad = self.0.iter().position(|&message| unsafe { (*message).err } != OK);
        match bad {
            None => Ok(Polled::Records(self.0.len())),
            Some(first) => self.sort_out(first, handle),
        }
    }

    /// Keeps the records, reports the first error.
    fn sort_out(&mut self, first: usize, handle: &Handle) -> Result<Polled, KafkaError> {
        use sys::rd_kafka_resp_err_t as code;
        let bad = self.0[first];
        // SAFETY: valid until released; an error message's payload is its text, which errstr returns.
        let (err, text) = unsafe {
            let text = sys::rd_kafka_message_errstr(bad);
            let text = if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            };
            ((*bad).err, text)
        };
        let reset = [code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE];
        let trouble = if reset.contains(&err) {
            return Err(out_of_range(bad, handle));
        } else if err == code::RD_KAFKA_RESP_ERR__FATAL {
            return Err(KafkaError::Fatal(text));
        } else {
            format!("{}: {text}", describe(err))
        };
        self.0.retain(|&message| {
            // SAFETY: taken from the queue; each is either kept or released, once.
            unsafe {
                let is_record = (*message).err == OK;
                if !is_record {
                    sys::rd_kafka_message_destroy(message);
                }
                is_record
            }
        });
        if self.0.is_empty() {
            return Ok(Polled::Trouble(trouble));
        }
        tracing::debug!(target: "kafka", "{trouble}");
        Ok(Polled::Records(self.0.len()))
    }

    /// A record among the messages.
    pub(super) fn record(&self, at: usize) -> Message<'_> {
        let message = self.0[at];
        // SAFETY: the message lives until it is released, which needs `&mut self`; length and pointer belong
        // together, and a null payload has length zero.
        unsafe {
            let raw = &*message;
            let timestamp_ms = sys::rd_kafka_message_timestamp(message, std::ptr::null_mut());
            let value = if raw.payload.is_null() {
                &[][..]
            } else {
                slice::from_raw_parts(raw.payload.cast::<u8>(), raw.len)
            };
            Message { partition: raw.partition, offset: raw.offset, timestamp_ms, value }
        }
    }
}

fn out_of_range(message: *mut sys::rd_kafka_message_t, handle: &Handle) -> KafkaError {
    // SAFETY: valid until released.
    let (topic, partition, offset) = unsafe {
        let rkt = (*message).rkt;
        let topic = if rkt.is_null() {
            String::new()
        } else {
            CStr::from_ptr(sys::rd_kafka_topic_name(rkt)).to_string_lossy().into_owned()
        };
        (topic, (*message).partition, (*message).offset)
    };
    let (low, high) = handle.watermarks(&topic, partition, 5_000).unwrap_or((-1, -1));
    KafkaError::OffsetOutOfRange { topic, partition, offset, low, high }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.release();
    }
}

/// One record; it lives until the next poll.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time by the broker, or by its producer where the topic says so: milliseconds since 1970; -1: none.
    pub timestamp_ms: i64,
    /// Its value; empty for a tombstone.
    pub value: &'a [u8],
}

/// What a poll brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many records; zero after a timeout.
    Records(usize),
    /// The broker cannot be reached or said no; the client tries on by itself.
    Trouble(String),
}

impl Consumer {
    /// Begins to read.
    pub fn new(settings: &KafkaSettings, positions: &[Position]) -> Result<Self, KafkaError> {
        let mut consumer = Self::idle(settings)?;
        consumer.assign(positions)?;
        Ok(consumer)
    }

    /// A client that reads nothing yet and answers questions about topics.
    pub fn idle(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let handle = Handle::new(Role::Consumer, &settings.consumer_properties())?;
        // SAFETY: the handle is a consumer.
        check("poll", unsafe { sys::rd_kafka_poll_set_consumer(handle.as_ptr()) })?;
        // SAFETY: as above; the queue is released before the client.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(handle.as_ptr()) };
        let queue = NonNull::new(queue).map(Queue).ok_or_else(|| KafkaError::Call {
            call: "get the consumer's queue",
            reason: "there is none".to_owned(),
        })?;
        Ok(Self { messages: Messages::default(), queue, handle })
    }

    /// The client, for questions about topics.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Begins to read here instead of what was read so far.
    pub fn assign(&mut self, positions: &[Position]) -> Result<(), KafkaError> {
        self.messages.release();
        // SAFETY: the list is destroyed below; names are valid during each call.
        unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(positions.len() as c_int);
            for position in positions {
                let name = c_text("assign", &position.topic)?;
                let added = sys::rd_kafka_topic_partition_list_add(list, name.as_ptr(), position.partition);
                (*added).offset = position.offset;
            }
            let code = sys::rd_kafka_assign(self.handle.as_ptr(), list);
            sys::rd_kafka_topic_partition_list_destroy(list);
            check("assign", code)
        }
    }

    /// Takes up to `max` records, waiting up to `timeout_ms` for the first. Those of the last poll are gone.
    pub fn poll(&mut self, max: usize, timeout_ms: i32) -> Result<Polled, KafkaError> {
        let (messages, queue) = (&mut self.messages, &self.queue);
        messages.release();
        // The client waits until it has all that it is asked for: ask for what is there, and only when there is
        // nothing wait for one.
        if messages.take(queue, max, 0) == 0 && timeout_ms > 0 && messages.take(queue, 1, timeout_ms) > 0 {
            messages.take(queue, max - 1, 0);
        }
        messages.sorted(&self.handle)
    }

    /// A record of the last poll.
    pub fn message(&self, at: usize) -> Message<'_> {
        self.messages.record(at)
    }
}
