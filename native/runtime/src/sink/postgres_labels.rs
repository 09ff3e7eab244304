//! Labels to Postgres: the newest label of a transaction is its row.

use std::time::Duration;

use fraudengine_core::event::{CurrencyTable, check_label};
use tokio_postgres::{Client, Statement};

use super::copy::CopyBuffer;
use super::migrate::migrate;
use super::postgres_session::{MOVE, Session, begin, copy_in, failed, move_position, position};
use super::rows::{self, LABEL_COLUMNS};
use super::settings::PostgresSettings;
use super::status::SinkError;
use super::worker::{Counts, Start, Writer};
use crate::log_reader::LogRecord;
use crate::payload::{Format, Scratch, decode_label};

/// Name in `sink_progress`.
const SINK: &str = "postgres-labels";
const STAGING: &str = "CREATE TEMP TABLE labels_staging (LIKE labels) ON COMMIT DELETE ROWS";

#[derive(Debug)]
struct Connection {
    session: Session,
    move_position: Statement,
    copy: Statement,
    merge: Statement,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct LabelWriter {
    settings: PostgresSettings,
    topic: String,
    format: Format,
    currencies: CurrencyTable,
    connection: Option<Connection>,
    rows: CopyBuffer,
    counts: Counts,
    scratch: Scratch,
}

impl LabelWriter {
    pub(super) fn new(
        settings: &PostgresSettings,
        topic: &str,
        format: Format,
        currencies: CurrencyTable,
    ) -> Self {
        Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            format,
            currencies,
            connection: None,
            rows: CopyBuffer::default(),
            counts: Counts::default(),
            scratch: Scratch::default(),
        }
    }

    fn connected(&mut self) -> Result<Connection, SinkError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut session = Session::connect(&self.settings.url)?;
        let (move_position, copy, merge) = session.run(prepare)?;
        Ok(Connection { session, move_position, copy, merge })
    }
}

async fn prepare(client: &mut Client) -> Result<(Statement, Statement, Statement), SinkError> {
    migrate(client).await?;
    client.batch_execute(STAGING).await.map_err(failed("make a staging table"))?;
    let prepare = async |statement: &str| client.prepare(statement).await.map_err(failed("prepare"));
    let copy = format!("COPY labels_staging ({LABEL_COLUMNS}) FROM STDIN (FORMAT binary)");
    // Sorted by key, so that two writers lock in one order; a later label corrects an earlier one.
    let merge = format!(
        "INSERT INTO labels ({LABEL_COLUMNS}) \
         SELECT DISTINCT ON (transaction_id) {LABEL_COLUMNS} FROM labels_staging \
         ORDER BY transaction_id, label_offset DESC \
         ON CONFLICT (transaction_id) DO UPDATE SET event_time = excluded.event_time, \
         customer_id = excluded.customer_id, amount_minor = excluded.amount_minor, \
         currency = excluded.currency, is_fraud = excluded.is_fraud, known_time = excluded.known_time, \
         label_offset = excluded.label_offset, typology = excluded.typology WHERE labels.label_offset < excluded.label_offset"
    );
    Ok((prepare(MOVE).await?, prepare(&copy).await?, prepare(&merge).await?))
}

impl Writer for LabelWriter {
    fn batch(&self) -> (usize, Duration) {
        (self.settings.batch_rows, Duration::from_millis(self.settings.batch_wait_ms))
    }

    fn resume(&mut self) -> Result<Start, SinkError> {
        self.rows.clear();
        self.counts = Counts::default();
        let mut connection = self.connected()?;
        let topic = self.topic.as_str();
        let found = connection.session.run(|client| position(client, SINK, topic))?;
        self.connection = Some(connection);
        Ok(found.map_or(Start::Fresh(i64::MAX), |(next, _)| Start::At(next)))
    }

    fn begin(&mut self, at: i64) -> Result<(), SinkError> {
        let mut connection = self.connected()?;
        let topic = self.topic.as_str();
        connection.session.run(|client| begin(client, SINK, topic, at))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn take(&mut self, record: LogRecord<'_>) {
        let label = decode_label(self.format, record.value, &mut self.scratch).ok();
        // What the engine refuses is not a label; its dead letter says why.
        match label.filter(|label| check_label(label, &self.currencies).is_ok()) {
            Some(label) => rows::label(&label, record.offset, &mut self.rows),
            None => self.counts.refused += 1,
        }
    }

    fn full(&self) -> bool {
        false
    }

    fn flush(&mut self, from: i64, to: i64) -> Result<Counts, SinkError> {
        let mut connection = self.connected()?;
        let Connection { session, move_position: statement, copy, merge } = &mut connection;
        let (rows, topic) = (&self.rows, self.topic.as_str());
        session.run(|client| async {
            let transaction = client.transaction().await.map_err(failed("begin"))?;
            move_position(&transaction, statement, (SINK, topic), (from, to), 0).await?;
            if rows.rows() > 0 {
                copy_in(&transaction, copy, rows).await?;
                transaction.execute(merge, &[]).await.map_err(failed("insert"))?;
            }
            transaction.commit().await.map_err(failed("commit"))
        })?;
        self.connection = Some(connection);
        let counts = Counts { rows: self.rows.rows(), ..self.counts };
        self.rows.clear();
        self.counts = Counts::default();
        Ok(counts)
    }
}
