//! The partitions of `transactions`, one for each day of event time: made when a row wants one, dropped by retention.
//!
//! Days are UTC days since 1970. There are at most `DAYS_MAX` partitions, because event times come from outside:
//! rows of further days go to `transactions_other`.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::Client;

use super::postgres_lookup::open_last;
use super::postgres_session::failed;
use super::rows::TRANSACTION_COLUMNS;
use super::status::SinkError;

/// Microseconds of a day.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;
/// Most partitions: planning a query over all days gets slower with each.
const DAYS_MAX: usize = 1_000;
const PREFIX: &str = "transactions_";
/// Values that the database remembers of each column to plan queries, out of 300 times as many rows. What is asked of a
/// day needs orders of magnitude; its own 100 take ten times as long, for each day.
const STATISTICS: u32 = 10;

/// Days that have a partition, as far as this writer knows.
#[derive(Debug, Default)]
pub(super) struct Days(BTreeSet<i64>);

impl Days {
    /// Asks the database.
    pub async fn read(client: &Client) -> Result<Self, SinkError> {
        let query = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'transactions'::regclass";
        let rows = client.query(query, &[]).await.map_err(failed("list partitions"))?;
        Ok(Self(rows.iter().filter_map(|row| day_of(row.get(0))).collect()))
    }

    /// Makes the partitions that these days want.
    pub async fn ensure(&mut self, client: &Client, wanted: &BTreeSet<i64>) -> Result<(), SinkError> {
        for day in wanted.difference(&self.0).copied().collect::<Vec<_>>() {
            if self.0.len() >= DAYS_MAX {
                return Ok(());
            }
            match client.batch_execute(&create(day)).await.map_err(failed("make a partition")) {
                // Rows of that day are in `transactions_other` already: the others go there too.
                Ok(()) | Err(SinkError::NoPartition) => drop(self.0.insert(day)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops what is older than so many days.
    pub async fn drop_before(&mut self, client: &Client, first: i64) -> Result<(), SinkError> {
        for day in self.0.range(..first).copied().collect::<Vec<_>>() {
            let statement = format!("DROP TABLE IF EXISTS {}", name(day));
            client.batch_execute(&statement).await.map_err(failed("drop a partition"))?;
            tracing::info!(target: "sink", partition = name(day), "dropped by postgres.retention_days");
            self.0.remove(&day);
        }
        let (year, month, date) = civil(first);
        let rest = format!(
            "DELETE FROM transactions_other WHERE event_time < '{year:04}-{month:02}-{date:02} 00:00+00'"
        );
        client.batch_execute(&rest).await.map_err(failed("delete old rows"))
    }
}

/// First day that is kept; `None`: all are.
pub(super) fn first_kept(retention_days: u32) -> Option<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    (retention_days > 0).then(|| now.div_euclid(DAY_MICROS) - i64::from(retention_days))
}

fn create(day: i64) -> String {
    let (name, (from, to)) = (name(day), (civil(day), civil(day + 1)));
    let columns = TRANSACTION_COLUMNS.split(',').map(str::trim);
    let statistics: Vec<_> =
        columns.map(|column| format!("ALTER {column} SET STATISTICS {STATISTICS}")).collect();
    // Rows are never changed: a vacuum after inserts would only read them again. Freezing comes with their age.
    // Into a summary of its first stretch the writer would enter each row.
    format!(
        "CREATE TABLE IF NOT EXISTS {name} PARTITION OF transactions \
         FOR VALUES FROM ('{:04}-{:02}-{:02} 00:00+00') TO ('{:04}-{:02}-{:02} 00:00+00') \
         WITH (autovacuum_vacuum_insert_threshold = -1); \
         ALTER TABLE {name} {}; {}",
        from.0,
        from.1,
        from.2,
        to.0,
        to.1,
        to.2,
        statistics.join(", "),
        open_last(&name)
    )
}

fn name(day: i64) -> String {
    let (year, month, date) = civil(day);
    format!("{PREFIX}{year:04}{month:02}{date:02}")
}

fn day_of(name: &str) -> Option<i64> {
    let digits = name.strip_prefix(PREFIX).filter(|rest| rest.len() == 8)?;
    let part = |from, to| digits.get(from..to)?.parse::<i64>().ok();
    Some(days_from_civil(part(0, 4)?, part(4, 6)?, part(6, 8)?))
}

/// Year, month and day of a day since 1970 in the Gregorian calendar (H. Hinnant's algorithm).
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

fn days_from_civil(year: i64, month: i64, date: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + date - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_names_convert_both_ways() {
        assert_eq!(name(0), "transactions_19700101");
        assert_eq!(name(20_781), "transactions_20261124");
        assert_eq!(civil(11_016), (2000, 2, 29));
        for day in (10_957..47_482).step_by(17) {
            assert_eq!(day_of(&name(day)), Some(day));
        }
        assert_eq!(day_of("transactions_other"), None);
        assert_eq!(day_of("transactions_2026"), None);
    }
}
