//! Evaluators' SQL: one statement, read-only, on a site's own database.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

/// How many rows an evaluator may ask for.
const MOST_ROWS: usize = 10_000;

/// The rows of one read-only statement, as arrays.
///
/// # Errors
/// What is wrong with the statement, or with the database.
pub(crate) fn rows(db: &Connection, statement: &str) -> Result<Value, String> {
    let words = |error: rusqlite::Error| error.to_string();
    let mut prepared = db.prepare(statement).map_err(words)?;
    let columns = prepared.column_count();
    // `readonly` alone would let transaction control and ATTACH pass: they give no columns. Most
    // pragmas that set something do give some.
    if !prepared.readonly() || columns == 0 || is_pragma(statement) {
        return Err("only a statement that reads is allowed".to_owned());
    }
    let mut found = Vec::new();
    let mut cursor = prepared.query([]).map_err(words)?;
    while let Some(row) = cursor.next().map_err(words)? {
        if found.len() == MOST_ROWS {
            return Err(format!("the statement gives more than {MOST_ROWS} rows"));
        }
        let cells = (0..columns)
            .map(|at| row.get_ref(at).map(json))
            .collect::<Result<Vec<_>, _>>()
            .map_err(words)?;
        found.push(Value::Array(cells));
    }
    Ok(Value::Array(found))
}

/// Whether a statement is a pragma, whatever comments stand before it: of the statements that
/// only read, all others with columns begin with one of these words.
fn is_pragma(statement: &str) -> bool {
    let first = statement
        .trim_start()
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    !["select", "with", "values", "explain"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

fn json(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}
