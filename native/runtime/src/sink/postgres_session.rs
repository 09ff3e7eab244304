//! One connection to Postgres in which every call has a deadline.
//!
//! The server gets time limits of its own, but a server that is frozen, or a network that swallows packets, says
//! nothing at all; so our side counts too, and gives up the connection when a call takes too long. What was
//! committed meanwhile is known afterwards from the progress row. `synchronous_commit` is off: rows and position are
//! one transaction, so a crash of the server takes both back and the log is read again from there.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::{DbError, Error, SqlState};
use tokio_postgres::{Client, Statement, Transaction};

use super::copy::CopyBuffer;
use super::postgres_tls::configure;
use super::status::{Retry, SinkError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one batch, or for the migrations; a little more than the server's own limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(35);
const LIMITS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = off; SET TIME ZONE 'UTC'";
/// Bytes of one message of a copy.
const CHUNK: usize = 128 * 1024;

/// A connection and the runtime that drives it, on the thread that calls.
#[derive(Debug)]
pub(super) struct Session {
    pub client: Client,
    // After the client: the connection's task ends with it.
    runtime: Runtime,
}

impl Session {
    /// Connects and sets the limits.
    pub fn connect(url: &str) -> Result<Self, SinkError> {
        let (mut config, tls) = configure(url)?;
        config
            .application_name("fraudengine")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(CALL_TIMEOUT)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| refused("start a runtime", error.to_string()))?;
        let client = within(&runtime, CONNECT_TIMEOUT * 2, async {
            let (client, connection) = config.connect(tls).await.map_err(failed("connect"))?;
            // Errors of the connection come out of the calls that use it.
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(LIMITS).await.map_err(failed("set limits"))?;
            Ok(client)
        })?;
        Ok(Self { client, runtime })
    }

    /// Runs some calls within the time limit. After an error the session should be dropped.
    pub fn run<'a, T, F>(&'a mut self, calls: impl FnOnce(&'a mut Client) -> F) -> Result<T, SinkError>
    where
        F: Future<Output = Result<T, SinkError>> + 'a,
    {
        within(&self.runtime, CALL_TIMEOUT, calls(&mut self.client))
    }
}

fn within<T>(
    runtime: &Runtime,
    limit: Duration,
    calls: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    // The timer is made inside the runtime that drives it.
    runtime.block_on(async { tokio::time::timeout(limit, calls).await }).unwrap_or_else(|_| {
        Err(SinkError::Postgres {
            call: "wait",
            reason: format!("no answer within {} s", limit.as_secs()),
            retry: Retry::Soon,
        })
    })
}

/// Sends rows to a prepared `COPY ... FROM STDIN`.
pub(super) async fn copy_in(
    transaction: &Transaction<'_>,
    statement: &Statement,
    rows: &CopyBuffer,
) -> Result<u64, SinkError> {
    let sink = transaction.copy_in::<_, Bytes>(statement).await.map_err(failed("copy"))?;
    let mut sink = Box::pin(sink);
    for chunk in rows.bytes().chunks(CHUNK) {
        sink.send(Bytes::copy_from_slice(chunk)).await.map_err(failed("copy"))?;
    }
    sink.as_mut().finish().await.map_err(failed("copy"))
}

/// Moves a position from the value that was read; `Moved` if another writer was faster. The row stays locked
/// until the transaction ends, so a second writer waits here and then sees that it is late.
pub(super) async fn move_position(
    transaction: &Transaction<'_>,
    statement: &Statement,
    key: (&str, &str),
    (from, to): (i64, i64),
    generation: i64,
) -> Result<(), SinkError> {
    let (sink, topic) = key;
    let moved = transaction
        .execute(statement, &[&sink, &topic, &from, &to, &generation])
        .await
        .map_err(failed("move the position"))?;
    if moved == 1 { Ok(()) } else { Err(SinkError::Moved { expected: from }) }
}

/// For [`move_position`].
pub(super) const MOVE: &str = "UPDATE sink_progress SET next_offset = $4, generation = $5, updated_at = now() \
     WHERE sink = $1 AND topic = $2 AND partition = 0 AND next_offset = $3";

/// Position and generation of a writer, if it has one.
pub(super) async fn position(
    client: &Client,
    sink: &str,
    topic: &str,
) -> Result<Option<(i64, i64)>, SinkError> {
    let query = "SELECT next_offset, generation FROM sink_progress \
         WHERE sink = $1 AND topic = $2 AND partition = 0";
    let row = client.query_opt(query, &[&sink, &topic]).await.map_err(failed("read the position"))?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Writes the first position of a writer, unless it has one.
pub(super) async fn begin(client: &Client, sink: &str, topic: &str, at: i64) -> Result<(), SinkError> {
    let insert = "INSERT INTO sink_progress (sink, topic, partition, next_offset, generation) \
         VALUES ($1, $2, 0, $3, 0) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&sink, &topic, &at]).await.map_err(failed("write the position")).map(|_| ())
}

/// An error of the settings or of the schema, which somebody has to mend.
pub(super) const fn refused(call: &'static str, reason: String) -> SinkError {
    SinkError::Postgres { call, reason, retry: Retry::Later }
}

/// Turns an error of the client into ours.
pub(super) fn failed(call: &'static str) -> impl Fn(Error) -> SinkError {
    move |error| {
        let Some(said) = error.as_db_error() else {
            // The text of the source names what the outer text leaves out ("error connecting to server").
            let source = std::error::Error::source(&error).map(|inner| format!(": {inner}"));
            let reason = format!("{error}{}", source.unwrap_or_default());
            return SinkError::Postgres { call, reason, retry: Retry::Soon };
        };
        match *said.code() {
            SqlState::UNIQUE_VIOLATION => SinkError::Repeated,
            SqlState::CHECK_VIOLATION => SinkError::NoPartition,
            _ => SinkError::Postgres { call, reason: text_of(said), retry: retry_of(said.code()) },
        }
    }
}

/// The server's text without its details: those quote values of rows.
fn text_of(said: &DbError) -> String {
    format!("{} ({})", said.message(), said.code().code())
}

/// Wrong passwords, missing rights, unknown databases and wrong tables need somebody to act.
fn retry_of(code: &SqlState) -> Retry {
    match code.code().get(..2) {
        Some("28" | "3D" | "42" | "22" | "0A") => Retry::Later,
        _ => Retry::Soon,
    }
}
