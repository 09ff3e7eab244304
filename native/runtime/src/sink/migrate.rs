//! The tables of the database, brought up to this program's version when a writer connects.
//!
//! Files of `native/runtime/migrations` in the order of their numbers, applied in one transaction under a lock, so
//! that several processes may start at once; each is recorded with its check sum. A database that a newer program
//! has changed, or a file that was changed after it had been applied, is refused.

use tokio_postgres::Client;

use super::postgres_session::{failed, refused};
use super::status::SinkError;

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub version: i32,
    /// What it is about.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

impl Migration {
    /// Of the file's text; what is recorded.
    pub fn checksum(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.sql.as_bytes()))
    }
}

/// All of them, in order.
pub const MIGRATIONS: [Migration; 5] = [
    Migration { version: 1, name: "tables", sql: include_str!("../../migrations/0001_tables.sql") },
    Migration { version: 2, name: "names", sql: include_str!("../../migrations/0002_names.sql") },
    Migration { version: 3, name: "typology", sql: include_str!("../../migrations/0003_typology.sql") },
    Migration { version: 4, name: "verdicts", sql: include_str!("../../migrations/0004_verdicts.sql") },
    Migration { version: 5, name: "lookup", sql: include_str!("../../migrations/0005_lookup.sql") },
];

/// Any number will do, as long as every version of the program takes the same.
const LOCK: i64 = 0x6672_6175_6465_6e67;

const RECORD: &str = "
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// Applies what is missing.
pub(super) async fn migrate(client: &mut Client) -> Result<(), SinkError> {
    let transaction = client.transaction().await.map_err(failed("migrate"))?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await
        .map_err(failed("lock migrations"))?;
    transaction.batch_execute(RECORD).await.map_err(failed("migrate"))?;
    let rows = transaction
        .query("SELECT version, checksum FROM schema_migrations ORDER BY version", &[])
        .await
        .map_err(failed("read migrations"))?;
    let applied: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for migration in pending(&applied).map_err(|reason| refused("migrate", reason))? {
        transaction.batch_execute(migration.sql).await.map_err(failed("apply a migration"))?;
        transaction
            .execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[&migration.version, &migration.name, &migration.checksum()],
            )
            .await
            .map_err(failed("record a migration"))?;
        tracing::info!(target: "sink", version = migration.version, name = migration.name, "the database was brought up to date");
    }
    transaction.commit().await.map_err(failed("migrate"))
}

/// What is missing, or why this database is not for this program.
fn pending(applied: &[(i32, String)]) -> Result<&'static [Migration], String> {
    for (at, (version, checksum)) in applied.iter().enumerate() {
        let Some(known) = MIGRATIONS.get(at) else {
            return Err(format!(
                "the database has version {version}, this program knows {}: it belongs to a newer program",
                MIGRATIONS.len()
            ));
        };
        if known.version != *version || known.checksum() != *checksum {
            return Err(format!(
                "migration {version} was applied as {checksum}, this program has {} as {}: the database is another program's",
                known.version,
                known.checksum()
            ));
        }
    }
    Ok(&MIGRATIONS[applied.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_follows_from_what_is_there() {
        let mut applied: Vec<_> = MIGRATIONS.iter().map(|file| (file.version, file.checksum())).collect();
        assert_eq!(pending(&[]).unwrap().len(), MIGRATIONS.len());
        assert_eq!(pending(&applied[..1]).unwrap().len(), MIGRATIONS.len() - 1);
        assert_eq!(pending(&applied).unwrap(), []);
        applied.push((MIGRATIONS.len() as i32 + 1, String::new()));
        assert!(pending(&applied).unwrap_err().contains("newer"));
        applied.truncate(1);
        applied[0].1 = "00000000".to_owned();
        assert!(pending(&applied).unwrap_err().contains("00000000"));
    }

    #[test]
    fn versions_count_from_one() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, at as i32 + 1);
        }
    }
}
