//! An idempotent producer that takes records in batches and says when each is safe.
//!
//! Records of one topic arrive in the order in which they were sent, and a delivered record means that all
//! before it are delivered: so what is in the log after a crash is always a prefix of what was sent. That
//! holds because nothing is refused here for want of room (the caller bounds what is in flight) and nothing
//! times out.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::slice;

use rdkafka::bindings as sys;

use super::handle::{Handle, KafkaError, OK, Role, c_text, describe};
use super::settings::KafkaSettings;

/// The partition that stands for the one of the key (`RD_KAFKA_PARTITION_UA`, a macro in C).
const BY_KEY: i32 = -1;

/// A record to send: parts of the caller's buffer, which is copied.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Comes back with its delivery.
    pub tag: u64,
}

/// A record that the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Position of its topic among the producer's.
    pub topic: usize,
    /// Its partition.
    pub partition: i32,
    /// The tag it was sent with.
    pub tag: u64,
    /// Where it stands.
    pub offset: i64,
    /// Its value.
    pub value: &'a [u8],
}

/// See the module's text.
#[derive(Debug)]
pub struct Producer {
    scratch: Vec<sys::rd_kafka_message_t>,
    queue: Queue,
    topics: Vec<Topic>,
    handle: Handle,
}

#[derive(Debug)]
struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: obtained from rd_kafka_queue_get_main, released once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

#[derive(Debug)]
struct Topic(NonNull<sys::rd_kafka_topic_t>);

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: obtained from rd_kafka_topic_new, released once.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

// SAFETY: all parts are librdkafka objects, which are thread-safe; the scratch space holds pointers only
// during `send`.
unsafe impl Send for Producer {}

impl Producer {
    /// Connects to the given topics; `linger_ms` and `compression` as in the section `[output]`.
    pub fn new(
        settings: &KafkaSettings,
        linger_ms: f64,
        compression: &str,
        topics: &[&str],
    ) -> Result<Self, KafkaError> {
        let handle = Handle::new(Role::Producer, &settings.producer_properties(linger_ms, compression))?;
        // SAFETY: the handle is valid; the queue is released before it.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_main(handle.as_ptr()) }).map(Queue);
        let none = |call| KafkaError::Call { call, reason: "there is none".to_owned() };
        let queue = queue.ok_or_else(|| none("get the producer's queue"))?;
        let mut opened = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = c_text("open a topic", topic)?;
            // SAFETY: the name is valid during the call; no topic configuration.
            let rkt =
                unsafe { sys::rd_kafka_topic_new(handle.as_ptr(), name.as_ptr(), std::ptr::null_mut()) };
            opened.push(NonNull::new(rkt).map(Topic).ok_or_else(|| none("open a topic"))?);
        }
        Ok(Self { scratch: Vec::new(), queue, topics: opened, handle })
    }

    /// Sends records to partition 0 of a topic, in their order.
    pub fn send<'a>(
        &mut self,
        topic: usize,
        records: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<(), KafkaError> {
        self.send_to(topic, 0, records)
    }

    /// Sends records to the partitions of their keys, the same as the Java client's.
    pub fn send_by_key<'a>(
        &mut self,
        topic: usize,
        records: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<(), KafkaError> {
        self.send_to(topic, BY_KEY, records)
    }

    fn send_to<'a>(
        &mut self,
        topic: usize,
        partition: i32,
        records: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<(), KafkaError> {
        self.scratch.clear();
        for record in records {
            self.scratch.push(sys::rd_kafka_message_t {
                err: OK,
                rkt: std::ptr::null_mut(),
                partition,
                payload: record.value.as_ptr().cast_mut().cast::<c_void>(),
                len: record.value.len(),
                key: record.key.as_ptr().cast_mut().cast::<c_void>(),
                key_len: record.key.len(),
                offset: 0,
                _private: record.tag as usize as *mut c_void,
            });
        }
        if self.scratch.is_empty() {
            return Ok(());
        }
        // SAFETY: the messages point into buffers that live during the call, which copies them (F_COPY).
        let sent = unsafe {
            sys::rd_kafka_produce_batch(
                self.topics[topic].0.as_ptr(),
                partition,
                sys::RD_KAFKA_MSG_F_COPY as c_int,
                self.scratch.as_mut_ptr(),
                self.scratch.len() as c_int,
            )
        };
        if sent as usize == self.scratch.len() {
            return Ok(());
        }
        // A refused record would leave a gap in the log: the producer must not be used any more.
        let refused = self.scratch.iter().find(|message| message.err != OK);
        Err(KafkaError::Fatal(refused.map_or_else(String::new, |message| describe(message.err))))
    }

    /// Takes the deliveries that have come in, waiting up to `timeout_ms` for the first.
    pub fn deliveries(
        &mut self,
        timeout_ms: i32,
        mut each: impl FnMut(Delivery<'_>),
    ) -> Result<(), KafkaError> {
        let mut wait = timeout_ms;
        loop {
            // SAFETY: the queue is valid; the event is destroyed below.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), wait) };
            if event.is_null() {
                return Ok(());
            }
            wait = 0;
            // SAFETY: the event is valid until destroyed.
            let result = unsafe {
                match sys::rd_kafka_event_type(event) as i32 {
                    sys::RD_KAFKA_EVENT_DR => self.reports(event, &mut each),
                    sys::RD_KAFKA_EVENT_ERROR => {
                        self.fatal().map_or(Ok(()), |text| Err(KafkaError::Fatal(text)))
                    }
                    _ => Ok(()),
                }
            };
            // SAFETY: destroyed once, not used after.
            unsafe { sys::rd_kafka_event_destroy(event) };
            result?;
        }
    }

    /// # Safety
    ///
    /// `event` is a valid delivery report event.
    unsafe fn reports(
        &self,
        event: *mut sys::rd_kafka_event_t,
        each: &mut impl FnMut(Delivery<'_>),
    ) -> Result<(), KafkaError> {
        loop {
            // SAFETY: by this function's contract; each message lives as long as the event.
            let message = unsafe { sys::rd_kafka_event_message_next(event) };
            if message.is_null() {
                return Ok(());
            }
            // SAFETY: as above.
            let message = unsafe { &*message };
            if message.err != OK {
                return Err(KafkaError::Fatal(format!(
                    "a record was not delivered: {}",
                    describe(message.err)
                )));
            }
            let topic = self.topics.iter().position(|topic| topic.0.as_ptr() == message.rkt);
            if let Some(topic) = topic {
                let value = if message.payload.is_null() {
                    &[][..]
                } else {
                    // SAFETY: the copy that the client has sent lives as long as the message.
                    unsafe { slice::from_raw_parts(message.payload.cast::<u8>(), message.len) }
                };
                each(Delivery {
                    topic,
                    partition: message.partition,
                    tag: message._private as usize as u64,
                    offset: message.offset,
                    value,
                });
            }
        }
    }

    fn fatal(&self) -> Option<String> {
        let mut text = [0_u8; 256];
        // SAFETY: the buffer has the length that is given.
        let code =
            unsafe { sys::rd_kafka_fatal_error(self.handle.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        (code != OK).then(|| String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Gives up everything that has not been sent: for when another process has taken over.
    pub fn abandon(&mut self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the handle is valid.
        unsafe { sys::rd_kafka_purge(self.handle.as_ptr(), flags as c_int) };
    }
}
