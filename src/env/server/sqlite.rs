//! `SQLite` files of a running server: copied, put back, and asked, all through `SQLite` itself.
//!
//! The online backup interface takes the locks that any other process would, so that it works with
//! pooled connections and write-ahead logs, and the server sees the restored rows at its next read.
//! Swapping the file under a server would not: an open connection goes on reading the old one.
//!
//! Everything here blocks. Several files are copied one after the other: they fit together only
//! while the server is at rest.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::super::sql;

/// Pages copied between two looks at the clock.
const PAGES: i32 = 2000;
/// Between two tries to get a lock.
const RETRY: Duration = Duration::from_millis(3);
/// How long a short question waits for a lock.
const BUSY: Duration = Duration::from_secs(2);

/// When to give up.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) deadline: Instant,
    pub(super) limit: Duration,
    pub(super) withdrawn: Arc<AtomicBool>,
}

impl Stop {
    fn check(&self, locked: bool) -> Result<(), String> {
        let seconds = self.limit.as_secs_f32();
        if self.withdrawn.load(Ordering::SeqCst) {
            Err("it was withdrawn".to_owned())
        } else if Instant::now() < self.deadline {
            Ok(())
        } else if locked {
            Err(format!("its server kept it locked for {seconds} s"))
        } else {
            Err(format!("it was not copied within {seconds} s"))
        }
    }
}

/// What changes whenever somebody else commits to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    file: (u64, u64),
    data: i64,
}

/// The files of one server.
#[derive(Debug)]
pub(super) struct Databases {
    files: Vec<Database>,
    /// Whether the server is ours: then what a power cut would lose may be lost.
    ours: bool,
}

#[derive(Debug)]
struct Database {
    path: PathBuf,
    file: (u64, u64),
    /// Only ever asked for its version: its own writes would not count as somebody else's.
    watch: Connection,
}

impl Database {
    fn open(path: PathBuf) -> Result<Self, String> {
        let watch = open(&path)?;
        let file = identity(&path)?;
        let mut opened = Self { path, file, watch };
        opened.version()?;
        Ok(opened)
    }

    fn version(&mut self) -> Result<Version, String> {
        let file = identity(&self.path)?;
        if file != self.file {
            // Another file by the same name: the server was started anew.
            self.watch = open(&self.path)?;
            self.file = file;
        }
        let asked = self
            .watch
            .query_row("pragma data_version", [], |row| row.get(0));
        let data = asked.map_err(|error| at(&self.path, &error))?;
        Ok(Version { file, data })
    }
}

fn at(path: &Path, reason: &dyn std::fmt::Display) -> String {
    format!("{}: {reason}", path.display())
}

fn identity(path: &Path) -> Result<(u64, u64), String> {
    let found = std::fs::metadata(path).map_err(|error| at(path, &error))?;
    Ok((found.dev(), found.ino()))
}

/// Opens a file that must be there.
fn open(path: &Path) -> Result<Connection, String> {
    let words = |error: rusqlite::Error| at(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(words)?;
    db.busy_timeout(BUSY).map_err(words)?;
    Ok(db)
}

impl Databases {
    /// The files at `paths`, all of which must be there.
    pub(super) fn open(paths: Vec<PathBuf>, ours: bool) -> Result<Self, String> {
        let files = paths.into_iter().map(Database::open);
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            ours,
        })
    }

    /// Equal versions mean that nobody has written in between.
    pub(super) fn versions(&mut self) -> Result<Vec<Version>, String> {
        self.files.iter_mut().map(Database::version).collect()
    }

    /// Copies the files to `folder`; how many bytes they take there.
    pub(super) fn save(&mut self, folder: &Path, stop: &Stop) -> Result<u64, String> {
        let mut bytes = 0;
        for (index, file) in self.files.iter().enumerate() {
            let kept = copy_path(folder, index);
            let words = |error: rusqlite::Error| at(&file.path, &error);
            let source = open(&file.path)?;
            let mut copy = Connection::open(&kept).map_err(words)?;
            copy.execute_batch("pragma synchronous = off; pragma journal_mode = off")
                .map_err(words)?;
            backup(&source, &mut copy, stop).map_err(|reason| at(&file.path, &reason))?;
            drop(copy);
            bytes += std::fs::metadata(&kept).map_err(|e| at(&kept, &e))?.len();
        }
        Ok(bytes)
    }

    /// Puts the files back that were copied to `folder`.
    pub(super) fn load(&mut self, folder: &Path, stop: &Stop) -> Result<(), String> {
        for (index, file) in self.files.iter().enumerate() {
            let words = |error: rusqlite::Error| at(&file.path, &error);
            let copy = open(&copy_path(folder, index))?;
            let mut live = open(&file.path)?;
            if self.ours {
                live.pragma_update(None, "synchronous", "off")
                    .map_err(words)?;
            }
            backup(&copy, &mut live, stop).map_err(|reason| at(&file.path, &reason))?;
        }
        Ok(())
    }

    /// One read-only statement on the first file.
    pub(super) fn sql(&self, statement: &str) -> Result<Value, String> {
        let file = self.files.first().ok_or("it has no SQLite file")?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&file.path, flags).map_err(|e| at(&file.path, &e))?;
        db.busy_timeout(BUSY).map_err(|e| at(&file.path, &e))?;
        sql::rows(&db, statement)
    }
}

fn copy_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index}.sqlite"))
}

fn backup(from: &Connection, to: &mut Connection, stop: &Stop) -> Result<(), String> {
    let words = |error: rusqlite::Error| error.to_string();
    for db in [from, &*to] {
        // The waiting is done here, where it can be called off.
        db.busy_timeout(Duration::ZERO).map_err(words)?;
    }
    let backup = Backup::new(from, to).map_err(words)?;
    loop {
        let locked = match backup.step(PAGES).map_err(words)? {
            StepResult::Done => return Ok(()),
            StepResult::More => false,
            _ => true,
        };
        stop.check(locked)?;
        if locked {
            std::thread::sleep(RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(limit: Duration) -> Stop {
        Stop {
            deadline: Instant::now() + limit,
            limit,
            withdrawn: Arc::default(),
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    /// A server's connection, in one journal mode, on a file with a row.
    fn server(path: &Path, mode: &str) -> Connection {
        let db = Connection::open(path).unwrap();
        db.execute_batch(&format!(
            "pragma journal_mode = {mode}; create table t (n); insert into t values (1)"
        ))
        .unwrap();
        db
    }

    fn count(db: &Connection) -> i64 {
        db.query_row("select count(*) from t", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn an_open_connection_sees_what_was_put_back() {
        for mode in ["delete", "wal", "truncate"] {
            let folder = tempfile::tempdir().unwrap();
            let kept = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            let server = server(&path, mode);
            let mut files = Databases::open(vec![path], false).unwrap();
            let before = files.versions().unwrap();
            assert!(files.save(kept.path(), &stop(SOON)).unwrap() > 0);
            assert_eq!(
                files.versions().unwrap(),
                before,
                "{mode}: saving writes nothing"
            );

            server.execute("insert into t values (2)", []).unwrap();
            assert_ne!(files.versions().unwrap(), before, "{mode}: a write is seen");
            files.load(kept.path(), &stop(SOON)).unwrap();
            assert_eq!(count(&server), 1, "{mode}");
            // And the server can go on writing.
            server.execute("insert into t values (3)", []).unwrap();
            assert_eq!(count(&server), 2, "{mode}");
            files.load(kept.path(), &stop(SOON)).unwrap();
            assert_eq!(count(&server), 1, "{mode}");
            let rows = files.sql("select n from t").unwrap();
            assert_eq!(rows, serde_json::json!([[1]]));
            assert!(files.sql("delete from t returning n").is_err());
        }
    }

    #[test]
    fn a_file_that_stays_locked_is_given_up_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let server = server(&path, "delete");
        let mut files = Databases::open(vec![path], false).unwrap();
        files.save(kept.path(), &stop(SOON)).unwrap();
        server.execute_batch("begin exclusive").unwrap();
        let short = Duration::from_millis(20);
        let error = files.load(kept.path(), &stop(short)).unwrap_err();
        assert!(
            error.contains("app.db") && error.contains("locked"),
            "{error}"
        );
        server.execute_batch("rollback").unwrap();
        files.load(kept.path(), &stop(SOON)).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.db");
        let error = Databases::open(vec![path], false).unwrap_err();
        assert!(error.contains("no.db"), "{error}");
    }
}
