//! The benches as a user runs them: what they measure is what they say, whatever the time it takes.

use std::process::Command;

use serde_json::Value;

/// The JSON lines that a bench prints.
fn bench(args: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_branchline"))
        .arg("bench")
        .args(args)
        .arg("--json")
        .current_dir(dir.path())
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let lines = String::from_utf8(ran.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn browser_restores_reach_the_state_that_the_baseline_walks_to() {
    let args = "restore --runs 1 --sites cart,spa --depths 3";
    let rows = bench(&args.split(' ').collect::<Vec<_>>());
    let sites: Vec<&Value> = rows.iter().map(|row| &row["site"]).collect();
    assert_eq!(sites, ["cart", "spa"]);
    for row in rows {
        assert_eq!(row["rungs"], serde_json::json!({"document": 1}), "{row}");
        assert_eq!(
            (&row["equal"], &row["baseline_equal"]),
            (&1.into(), &1.into())
        );
        // Four waits for 500 ms of silence are in the baseline, by definition.
        assert!(
            row["baseline_ms"]["median"].as_f64().unwrap() >= 2000.0,
            "{row}"
        );
    }
}

#[test]
fn browser_lanes_have_processes_of_their_own() {
    let rows = bench(&["lanes", "--lanes", "2"]);
    let count = |name: &str| rows[0][name].as_u64().unwrap();
    assert!(
        count("processes") >= count("base_processes") + 2,
        "{rows:?}"
    );
    assert!(rows[0]["mib_per_lane"].as_f64().unwrap() > 1.0, "{rows:?}");
}

#[test]
fn browser_searches_leave_no_write_behind() {
    let args = "writes --runs 12 --checkpoint-runs 10 --chromium-every 4";
    let rows = bench(&args.split(' ').collect::<Vec<_>>());
    let [hold, checkpoint] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    for (row, searches) in [(hold, 12), (checkpoint, 10)] {
        assert_eq!(row["searches"], searches);
        assert!(row["in_chromium"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(
            (&row["stray"], &row["database_changed"]),
            (&0.into(), &0.into())
        );
        assert_eq!(row["broken"], serde_json::json!([]));
    }
    // There was something to leave behind.
    let count = |row: &Value, name: &str| row[name].as_u64().unwrap();
    assert!(count(hold, "held") > 3, "{hold}");
    assert!(count(hold, "committed") > 0, "{hold}");
    assert!(
        count(checkpoint, "sent_while_searching") > 3,
        "{checkpoint}"
    );
}
