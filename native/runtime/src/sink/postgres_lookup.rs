//! Keeps the look-up indexes of `transactions` up to date, on a thread and a connection of its own.
//!
//! They are summaries of stretches of pages (`migrations/0005_lookup.sql`). A row that is written costs nothing then;
//! here the stretches that are full since are summarised every few seconds, about 1.3 us a row. The one at the end is
//! left out while rows still come: into a summary that exists, the writer itself has to enter each row. What is not
//! summarised yet is read by whoever looks something up: a summary that is late makes look-ups slow and never wrong.

use std::collections::HashMap;
use std::time::Duration;

use super::postgres_session::{Session, failed};
use super::settings::PostgresSettings;
use super::status::SinkError;
use crate::stop::Stop;

/// Time between two looks at what has come.
const EVERY: Duration = Duration::from_secs(5);
/// Pages of one summary: `pages_per_range` of the indexes.
const PAGES: i64 = 32;

/// Look-up indexes that can be used, with the length of their table in pages.
const INDEXES: &str = "SELECT i.indexrelid::regclass::text, \
     pg_relation_size(i.indrelid) / current_setting('block_size')::bigint \
     FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid JOIN pg_class c ON c.oid = i.indexrelid \
     JOIN pg_am a ON a.oid = c.relam \
     WHERE h.inhparent = 'transactions'::regclass AND a.amname = 'brin' AND i.indisvalid ORDER BY 1";

/// Days that were there before the indexes were.
const WITHOUT: &str = "SELECT h.inhrelid::regclass::text FROM pg_inherits h \
     WHERE h.inhparent = 'transactions'::regclass AND NOT EXISTS (\
     SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
     WHERE i.indrelid = h.inhrelid AND a.amname = 'brin') ORDER BY 1 DESC";

/// Column and share of wrong positives of each index, as in the migration.
const COLUMNS: [(&str, &str); 3] =
    [("transaction_id", "0.001"), ("customer_id", "0.01"), ("merchant_id", "0.01")];

/// Runs until the stop flag is set. An error is told once, and everything is tried again.
pub(super) fn run(settings: &PostgresSettings, stop: &Stop) {
    let mut state = State::default();
    let mut told = false;
    while !stop.is_set() {
        stop.sleep(EVERY);
        match state.turn(&settings.url, stop) {
            Ok(()) => told = false,
            Err(error) => {
                if !told {
                    tracing::warn!(target: "sink", %error, "look-up indexes of transactions are behind");
                }
                told = true;
                state.session = None;
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    /// By index.
    lengths: HashMap<String, Lengths>,
}

/// Lengths of an index's table, in pages.
#[derive(Debug, Default, Clone, Copy)]
struct Lengths {
    /// At the last look.
    seen: i64,
    /// Up to here everything is summarised.
    done: i64,
}

/// What an index wants now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Summaries of everything but the last stretch: rows still come.
    Full,
    /// Of the last one as well.
    Rest,
}

impl Lengths {
    fn look(&mut self, pages: i64) -> Due {
        let grows = pages != std::mem::replace(&mut self.seen, pages);
        match (grows, pages - self.done) {
            (_, 0) => Due::Nothing,
            (false, _) => {
                self.done = pages;
                Due::Rest
            }
            (true, new) if new >= PAGES => {
                self.done = pages - pages % PAGES;
                Due::Full
            }
            (true, _) => Due::Nothing,
        }
    }
}

impl State {
    /// Makes missing indexes and summarises what has come.
    fn turn(&mut self, url: &str, stop: &Stop) -> Result<(), SinkError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::connect(url)?,
        };
        if names(&mut session, "SELECT 1::text WHERE to_regclass('transactions_by_id') IS NOT NULL")?
            .is_empty()
        {
            // The writer has not made the tables yet.
            self.session = Some(session);
            return Ok(());
        }
        for (table, _) in names(&mut session, WITHOUT)? {
            if stop.is_set() {
                break;
            }
            let statements: String = COLUMNS.iter().map(|column| create(&table, column)).collect();
            session.run(|client| async move {
                client.batch_execute(&statements).await.map_err(failed("make look-up indexes"))
            })?;
            tracing::info!(target: "sink", partition = table, "look-up indexes were made");
        }
        for (index, pages) in names(&mut session, INDEXES)? {
            if stop.is_set() {
                break;
            }
            let statement = match self.lengths.entry(index.clone()).or_default().look(pages) {
                Due::Nothing => continue,
                Due::Full => summarise(&index) + &open_last(&index),
                Due::Rest => summarise(&index),
            };
            session.run(|client| async move {
                client.batch_execute(&statement).await.map_err(failed("summarise a look-up index"))
            })?;
        }
        self.session = Some(session);
        Ok(())
    }
}

/// Rows of a query: a text, and a number where there is one.
fn names(session: &mut Session, query: &'static str) -> Result<Vec<(String, i64)>, SinkError> {
    let rows = session.run(|client| async move {
        client.query(query, &[]).await.map_err(failed("list look-up indexes"))
    })?;
    Ok(rows
        .iter()
        .map(|row| (row.try_get(0).unwrap_or_default(), row.try_get(1).unwrap_or_default()))
        .collect())
}

fn summarise(index: &str) -> String {
    format!("SELECT brin_summarize_new_values('{index}'::regclass);")
}

/// Takes the summary of the last stretch back, of one index or of all of a table: the server knows no way to summarise the
/// full ones only, and gives an index of an empty table one.
pub(super) fn open_last(of: &str) -> String {
    format!(
        "SELECT brin_desummarize_range(i.indexrelid, greatest(pg_relation_size(i.indrelid) / \
         current_setting('block_size')::bigint - 1, 0)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_am a ON a.oid = c.relam \
         WHERE a.amname = 'brin' AND (i.indexrelid = '{of}'::regclass OR i.indrelid = '{of}'::regclass);"
    )
}

fn create(table: &str, (column, wrong): &(&str, &str)) -> String {
    format!(
        "CREATE INDEX ON {table} USING brin ({column} text_bloom_ops (n_distinct_per_range = 1400, \
         false_positive_rate = {wrong})) WITH (pages_per_range = {PAGES});"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stretch_waits_until_the_table_rests() {
        let mut lengths = Lengths::default();
        let dues: Vec<Due> = [0, 31, 33, 70, 70, 70, 80, 80].map(|pages| lengths.look(pages)).into();
        assert_eq!(
            dues,
            [
                Due::Nothing, // empty
                Due::Nothing, // less than a stretch
                Due::Full,
                Due::Full,
                Due::Rest,
                Due::Nothing,
                Due::Nothing,
                Due::Rest
            ]
        );
    }
}
