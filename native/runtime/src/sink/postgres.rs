//! Decisions and alerts to Postgres: one database transaction a batch, which also moves the position.
//!
//! Because the position moves with the rows, no row of a batch can exist yet unless its id is a repeated one. So a
//! batch is first copied straight into the tables; when a key exists after all, the same batch goes through a
//! staging table and the first row of a key wins. Ids that the engine itself has flagged as repeated are left out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};

use super::copy::CopyBuffer;
use super::migrate::migrate;
use super::partitions::{DAY_MICROS, Days, first_kept};
use super::postgres_session::{MOVE, Session, begin, copy_in, failed, move_position, position};
use super::rows::{self, ALERT_COLUMNS, TRANSACTION_COLUMNS};
use super::settings::PostgresSettings;
use super::status::SinkError;
use super::worker::{Counts, Start, Writer};
use crate::log_reader::{GenerationRule, LogRecord};
use crate::payload::record::decision;

/// Name in `sink_progress`.
const SINK: &str = "postgres";
/// Bit of the flags: the id was decided before.
const DUPLICATE: u32 = 1;
/// Number of the action "approve".
const APPROVE: i32 = 1;
/// Bytes at which a batch is written although it has few rows.
const BATCH_BYTES: usize = 16 << 20;
/// How often old partitions are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// Batches that go through staging after a repeated id: such ids come in groups.
const STAGED_AFTER_REPEAT: u32 = 8;

/// A table as rows get into it.
#[derive(Debug)]
struct Target {
    rows: CopyBuffer,
    table: &'static str,
    columns: &'static str,
    key: &'static str,
}

impl Target {
    fn staging(&self) -> String {
        // With its defaults: a column that is not copied may be one that must not be empty.
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS {0}_staging (LIKE {0} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS",
            self.table
        )
    }

    fn copy(&self, suffix: &str) -> String {
        format!("COPY {}{suffix} ({}) FROM STDIN (FORMAT binary)", self.table, self.columns)
    }

    fn merge(&self) -> String {
        // Sorted by key, so that two writers lock in one order; of rows with one key the first decision comes first.
        format!(
            "INSERT INTO {0} ({1}) SELECT {1} FROM {0}_staging ORDER BY {2}, decision_offset ON CONFLICT DO NOTHING",
            self.table, self.columns, self.key
        )
    }
}

/// Statements of one connection.
#[derive(Debug)]
struct Prepared {
    move_position: Statement,
    copy: [Statement; 2],
}

#[derive(Debug)]
struct Connection {
    session: Session,
    prepared: Prepared,
    days: Days,
    cleaned: Option<Instant>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct DecisionWriter {
    settings: PostgresSettings,
    topic: String,
    connection: Option<Connection>,
    rule: GenerationRule,
    batch: Batch,
    staged: u32,
}

/// The batch in hand.
#[derive(Debug)]
struct Batch {
    targets: [Target; 2],
    days: BTreeSet<i64>,
    counts: Counts,
    json: Vec<u8>,
    first_kept: Option<i64>,
}

impl Batch {
    fn clear(&mut self) {
        for target in &mut self.targets {
            target.rows.clear();
        }
        self.days.clear();
        self.counts = Counts::default();
    }

    fn take(&mut self, record: LogRecord<'_>, rule: &mut GenerationRule) {
        let Ok(view) = decision(record.value) else {
            tracing::warn!(target: "sink", offset = record.offset, "a decision record cannot be read");
            self.counts.refused += 1;
            return;
        };
        let Some(raw) = view.transaction else {
            rule.marker(record.offset);
            self.counts.skipped += 1;
            return;
        };
        if !rule.admits(view.generation) {
            self.counts.fenced += 1;
            return;
        }
        let day = raw.event_time_micros.unwrap_or_default().div_euclid(DAY_MICROS);
        if view.flags & DUPLICATE != 0 || self.first_kept.is_some_and(|first| day < first) {
            self.counts.skipped += 1;
            return;
        }
        self.days.insert(day);
        let [transactions, alerts] = &mut self.targets;
        rows::transaction(&view, &raw, record.offset, &mut self.json, &mut transactions.rows);
        if view.action != APPROVE {
            rows::alert(&view, &raw, record.offset, &mut self.json, &mut alerts.rows);
        }
    }
}

impl DecisionWriter {
    pub(super) fn new(settings: &PostgresSettings, topic: &str) -> Self {
        let target = |table, columns, key| Target { rows: CopyBuffer::default(), table, columns, key };
        Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            connection: None,
            rule: GenerationRule::default(),
            batch: Batch {
                targets: [
                    target("transactions", TRANSACTION_COLUMNS, "event_time, transaction_id"),
                    target("alerts", ALERT_COLUMNS, "transaction_id"),
                ],
                days: BTreeSet::new(),
                counts: Counts::default(),
                json: Vec::new(),
                first_kept: None,
            },
            staged: 0,
        }
    }

    fn connect(&self) -> Result<Connection, SinkError> {
        let mut session = Session::connect(&self.settings.url)?;
        let copies = self.batch.targets.each_ref().map(|target| target.copy(""));
        let (prepared, days) = session.run(|client| async move {
            migrate(client).await?;
            let prepare = async |statement: &str| client.prepare(statement).await.map_err(failed("prepare"));
            let prepared = Prepared {
                move_position: prepare(MOVE).await?,
                copy: [prepare(&copies[0]).await?, prepare(&copies[1]).await?],
            };
            Ok((prepared, Days::read(client).await?))
        })?;
        Ok(Connection { session, prepared, days, cleaned: None })
    }

    /// The connection, made if there is none.
    fn connected(&mut self) -> Result<Connection, SinkError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.connect(),
        }
    }

    fn write(&mut self, connection: &mut Connection, from: i64, to: i64) -> Result<(), SinkError> {
        let (batch, topic, generation) = (&self.batch, self.topic.as_str(), self.rule.highest());
        let Connection { session, prepared, days, cleaned } = connection;
        let retention = batch.first_kept.filter(|_| cleaned.is_none_or(|at| at.elapsed() > RETENTION_EVERY));
        if let Some(first) = retention {
            session.run(|client| days.drop_before(client, first))?;
            *cleaned = Some(Instant::now());
        }
        let move_to = (from, to, generation);
        if self.staged == 0 {
            let written = session.run(|client| async {
                days.ensure(client, &batch.days).await?;
                batch.write(client, prepared, topic, move_to, false).await
            });
            match written {
                Err(SinkError::Repeated) => self.staged = STAGED_AFTER_REPEAT,
                Err(SinkError::NoPartition) => *days = session.run(|client| Days::read(client))?,
                other => return other,
            }
        }
        self.staged = self.staged.saturating_sub(1);
        session.run(|client| async {
            days.ensure(client, &batch.days).await?;
            batch.write(client, prepared, topic, move_to, true).await
        })
    }
}

impl Batch {
    async fn write(
        &self,
        client: &mut Client,
        prepared: &Prepared,
        topic: &str,
        (from, to, generation): (i64, i64, i64),
        staged: bool,
    ) -> Result<(), SinkError> {
        if staged {
            for target in &self.targets {
                client.batch_execute(&target.staging()).await.map_err(failed("make a staging table"))?;
            }
        }
        let transaction = client.transaction().await.map_err(failed("begin"))?;
        move_position(&transaction, &prepared.move_position, (SINK, topic), (from, to), generation).await?;
        for (target, copy) in self.targets.iter().zip(&prepared.copy) {
            if target.rows.rows() == 0 {
                continue;
            }
            if staged {
                let copy = transaction.prepare(&target.copy("_staging")).await.map_err(failed("prepare"))?;
                copy_in(&transaction, &copy, &target.rows).await?;
                transaction.batch_execute(&target.merge()).await.map_err(failed("insert"))?;
            } else {
                copy_in(&transaction, copy, &target.rows).await?;
            }
        }
        transaction.commit().await.map_err(failed("commit"))
    }
}

impl Writer for DecisionWriter {
    fn batch(&self) -> (usize, Duration) {
        (self.settings.batch_rows, Duration::from_millis(self.settings.batch_wait_ms))
    }

    fn resume(&mut self) -> Result<Start, SinkError> {
        self.batch.clear();
        self.batch.first_kept = first_kept(self.settings.retention_days);
        let mut connection = self.connected()?;
        let topic = self.topic.as_str();
        let found = connection.session.run(|client| position(client, SINK, topic))?;
        self.connection = Some(connection);
        Ok(match found {
            Some((next, generation)) => {
                self.rule = GenerationRule::resume(generation);
                Start::At(next)
            }
            // Everything that the broker still has.
            None => Start::Fresh(i64::MAX),
        })
    }

    fn begin(&mut self, at: i64) -> Result<(), SinkError> {
        let mut connection = self.connected()?;
        let topic = self.topic.as_str();
        connection.session.run(|client| begin(client, SINK, topic, at))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn take(&mut self, record: LogRecord<'_>) {
        self.batch.take(record, &mut self.rule);
    }

    fn full(&self) -> bool {
        self.batch.targets[0].rows.bytes().len() >= BATCH_BYTES
    }

    fn flush(&mut self, from: i64, to: i64) -> Result<Counts, SinkError> {
        let mut connection = self.connected()?;
        // After an error the connection is dropped: whatever state it is in, a new one has none.
        self.write(&mut connection, from, to)?;
        self.connection = Some(connection);
        let counts = Counts { rows: self.batch.targets[0].rows.rows(), ..self.batch.counts };
        self.batch.clear();
        self.batch.first_kept = first_kept(self.settings.retention_days);
        Ok(counts)
    }
}
