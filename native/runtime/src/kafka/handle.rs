//! A librdkafka client that is destroyed when it is dropped, and its errors as values.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rdkafka::bindings as sys;
use thiserror::Error;

/// What Kafka or its client refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KafkaError {
    /// A client property is unknown or has a value that it cannot have.
    #[error("kafka property {name} = {value:?}: {reason}")]
    Property {
        /// Its name.
        name: String,
        /// Its value; secrets are masked.
        value: String,
        /// What the client says.
        reason: String,
    },
    /// A call failed.
    #[error("kafka: {call}: {reason}")]
    Call {
        /// What was being done.
        call: &'static str,
        /// What the client says.
        reason: String,
    },
    /// An offset that the broker no longer has, or never had.
    #[error("kafka: {topic}/{partition}: offset {offset} is not available (the log has {low} to {high})")]
    OffsetOutOfRange {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The offset that was asked for.
        offset: i64,
        /// First offset of the log.
        low: i64,
        /// Offset after its last record.
        high: i64,
    },
    /// A topic does not exist or has the wrong number of partitions.
    #[error("kafka: topic {topic} has {found} partitions, needs {needed}")]
    Partitions {
        /// Topic.
        topic: String,
        /// How many it has; 0: it does not exist.
        found: usize,
        /// What is needed.
        needed: &'static str,
    },
    /// The client cannot go on: it must be made anew.
    #[error("kafka: the client failed for good: {0}")]
    Fatal(String),
}

/// The text of an error code.
pub(super) fn describe(code: sys::rd_kafka_resp_err_t) -> String {
    // SAFETY: the function accepts every code and returns a static string.
    let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) };
    text.to_string_lossy().into_owned()
}

pub(super) const OK: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Turns a code into a result.
pub(super) fn check(call: &'static str, code: sys::rd_kafka_resp_err_t) -> Result<(), KafkaError> {
    if code == OK { Ok(()) } else { Err(KafkaError::Call { call, reason: describe(code) }) }
}

/// A text for C; a NUL inside is an error of the settings, told as an unusable text.
pub(super) fn c_text(call: &'static str, text: &str) -> Result<CString, KafkaError> {
    CString::new(text)
        .map_err(|_| KafkaError::Call { call, reason: format!("{text:?} contains a NUL character") })
}

/// Which events a client hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Consumer,
    Producer,
}

/// A client.
///
/// # Thread Safety
///
/// librdkafka's functions may be called from any thread; a handle can be shared.
#[derive(Debug)]
pub struct Handle {
    client: NonNull<sys::rd_kafka_t>,
    /// Partitions that are read through queues of their own.
    started: Vec<Started>,
}

/// A topic object and a partition of it that is being read.
#[derive(Debug)]
struct Started(NonNull<sys::rd_kafka_topic_t>, i32);

// SAFETY: librdkafka documents its handles as thread-safe ("completely thread-safe").
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        let client = Ending(self.client, std::mem::take(&mut self.started));
        let (done, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
            client.destroy();
            drop(done);
        });
        if thread.is_err() {
            tracing::warn!(target: "kafka", "a client could not be ended");
        } else {
            has_ended(&ended);
        }
    }
}

/// How long a client may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Waits for a client on its way out, whose thread drops the other side of `ended` when it is gone; false when it is
/// left behind.
///
/// A client ends within milliseconds, except where one of its threads waits for another for ever (seen when a consumer
/// ended while it heard that its offset was gone), and in a group without a coordinator, where a commit that waits for
/// one holds it until the session is over or, once sent, without end. Nothing is lost with a client that is left
/// behind: what was in flight has been accounted for by its user.
pub(super) fn has_ended(ended: &mpsc::Receiver<()>) -> bool {
    let ended = ended.recv_timeout(END_PATIENCE) != Err(RecvTimeoutError::Timeout);
    if !ended {
        tracing::warn!(target: "kafka", "a client does not end and is left behind");
    }
    ended
}

/// A client on its way to the thread that destroys it.
struct Ending(NonNull<sys::rd_kafka_t>, Vec<Started>);

// SAFETY: as for the handle, whose place it takes; topic objects are as thread-safe as their client.
unsafe impl Send for Ending {}

impl Ending {
    fn destroy(self) {
        for Started(topic, partition) in self.1 {
            // SAFETY: started by `start_reading`, stopped and released once, here, while the client still lives.
            unsafe {
                sys::rd_kafka_consume_stop(topic.as_ptr(), partition);
                sys::rd_kafka_topic_destroy(topic.as_ptr());
            }
        }
        // SAFETY: the pointer came from rd_kafka_new and is destroyed once, here: the handle that held it is gone. A
        // consumer that has not been closed is left open on purpose: it has joined no group.
        unsafe { sys::rd_kafka_destroy_flags(self.0.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) };
    }
}

impl Handle {
    pub(super) fn new(role: Role, properties: &BTreeMap<String, String>) -> Result<Self, KafkaError> {
        // SAFETY: no precondition; the configuration is handed to rd_kafka_new below or destroyed.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        let mut reason = [0_u8; 512];
        for (name, value) in properties {
            let (c_name, c_value) = (c_text("set property", name)?, c_text("set property", value)?);
            // SAFETY: all pointers are valid for the call, the buffer has the length that is given.
            let set = unsafe {
                sys::rd_kafka_conf_set(
                    conf,
                    c_name.as_ptr(),
                    c_value.as_ptr(),
                    reason.as_mut_ptr().cast::<c_char>(),
                    reason.len(),
                )
            };
            if set != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                // SAFETY: `conf` has not been handed over.
                unsafe { sys::rd_kafka_conf_destroy(conf) };
                return Err(refused(name, value, &reason));
            }
        }
        if role == Role::Producer {
            let events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR;
            // SAFETY: `conf` is valid.
            unsafe { sys::rd_kafka_conf_set_events(conf, events as c_int) };
        }
        // SAFETY: `conf` is valid and made for this process; the callback is a plain function.
        unsafe { sys::rd_kafka_conf_set_log_cb(conf, Some(log_line)) };
        let kind = match role {
            Role::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Role::Producer => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        // SAFETY: `conf` is valid; rd_kafka_new takes it over when it succeeds.
        let client =
            unsafe { sys::rd_kafka_new(kind, conf, reason.as_mut_ptr().cast::<c_char>(), reason.len()) };
        NonNull::new(client).map(|client| Self { client, started: Vec::new() }).ok_or_else(|| {
            // SAFETY: rd_kafka_new failed, so `conf` is still ours.
            unsafe { sys::rd_kafka_conf_destroy(conf) };
            KafkaError::Call { call: "make a client", reason: text_of(&reason) }
        })
    }

    pub(super) const fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.client.as_ptr()
    }

    /// Begins to read a partition into a queue, until the client ends.
    pub(super) fn start_reading(
        &mut self,
        topic: &CStr,
        partition: i32,
        offset: i64,
        queue: NonNull<sys::rd_kafka_queue_t>,
    ) -> Result<(), KafkaError> {
        let failed = || {
            // SAFETY: no precondition.
            let reason = describe(unsafe { sys::rd_kafka_last_error() });
            let reason = format!("{}/{partition} at {offset}: {reason}", topic.to_string_lossy());
            KafkaError::Call { call: "begin to read", reason }
        };
        // SAFETY: the name is valid during the call; no topic configuration.
        let rkt = unsafe { sys::rd_kafka_topic_new(self.as_ptr(), topic.as_ptr(), std::ptr::null_mut()) };
        let rkt = NonNull::new(rkt).ok_or_else(failed)?;
        // SAFETY: topic object and queue are valid; the client counts its own references to both.
        if unsafe { sys::rd_kafka_consume_start_queue(rkt.as_ptr(), partition, offset, queue.as_ptr()) } != 0
        {
            let error = failed();
            // SAFETY: obtained above, released once.
            unsafe { sys::rd_kafka_topic_destroy(rkt.as_ptr()) };
            return Err(error);
        }
        self.started.push(Started(rkt, partition));
        Ok(())
    }

    /// First offset of a partition's log and the offset after its last record, asked of the broker.
    pub fn watermarks(&self, topic: &str, partition: i32, timeout_ms: i32) -> Result<(i64, i64), KafkaError> {
        let name = c_text("ask for offsets", topic)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: all pointers are valid for the call.
        let code = unsafe {
            sys::rd_kafka_query_watermark_offsets(
                self.as_ptr(),
                name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                timeout_ms,
            )
        };
        check("ask for offsets", code).map(|()| (low, high))
    }

    /// Offset after a partition's last record as the client heard with its last fetch; `None` before the first.
    pub fn end_heard(&self, topic: &str, partition: i32) -> Option<i64> {
        self.end_heard_of(&c_text("look up offsets", topic).ok()?, partition)
    }

    pub(super) fn end_heard_of(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (0, -1);
        // SAFETY: all pointers are valid for the call, which asks nobody.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.as_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (code == OK && high >= 0).then_some(high)
    }

    /// Number of partitions of a topic; 0 if it does not exist.
    pub fn partitions(&self, topic: &str, timeout_ms: i32) -> Result<usize, KafkaError> {
        let name = c_text("ask for metadata", topic)?;
        // SAFETY: the name is valid for the call; no topic configuration.
        let rkt = unsafe { sys::rd_kafka_topic_new(self.as_ptr(), name.as_ptr(), std::ptr::null_mut()) };
        let mut metadata: *const sys::rd_kafka_metadata = std::ptr::null();
        // SAFETY: `rkt` belongs to this client; the result is destroyed below.
        let code = unsafe { sys::rd_kafka_metadata(self.as_ptr(), 0, rkt, &raw mut metadata, timeout_ms) };
        let mut found = 0;
        if code == OK {
            // SAFETY: on success the metadata holds `topic_cnt` topics, here one.
            unsafe {
                if (*metadata).topic_cnt > 0 {
                    found = (*(*metadata).topics).partition_cnt as usize;
                }
                sys::rd_kafka_metadata_destroy(metadata);
            }
        }
        // SAFETY: made above, not used after this.
        unsafe { sys::rd_kafka_topic_destroy(rkt) };
        check("ask for metadata", code).map(|()| found)
    }
}

fn text_of(buffer: &[u8]) -> String {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

fn refused(name: &str, value: &str, reason: &[u8]) -> KafkaError {
    let secret = ["password", "key", "secret", "token"].iter().any(|part| name.contains(part));
    let value = if secret { "***" } else { value };
    KafkaError::Property { name: name.to_owned(), value: value.to_owned(), reason: text_of(reason) }
}

/// librdkafka's log lines, one event each; called from its threads.
unsafe extern "C" fn log_line(
    _client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka passes NUL-terminated strings that live during the call.
    let (facility, line) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(line)) };
    let (facility, line) = (facility.to_string_lossy(), line.to_string_lossy());
    if level <= 3 {
        tracing::warn!(target: "kafka", %facility, "{line}");
    } else {
        tracing::info!(target: "kafka", %facility, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_and_a_bad_value_are_named_and_secrets_are_not() {
        let properties = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        let error = Handle::new(Role::Consumer, &properties("no.such", "1")).unwrap_err();
        assert!(error.to_string().contains("no.such"), "{error}");
        let error = Handle::new(Role::Consumer, &properties("ssl.key.passwordx", "hush")).unwrap_err();
        assert!(error.to_string().contains("***") && !error.to_string().contains("hush"), "{error}");
        let error = Handle::new(Role::Producer, &properties("acks", "many")).unwrap_err();
        assert!(error.to_string().contains("many"), "{error}");
    }
}
