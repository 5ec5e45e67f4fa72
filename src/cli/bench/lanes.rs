//! `branchline bench lanes`: what live lanes cost in memory.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::environment;
use crate::cli::CliError;
use crate::cli::app::{print, say};
use crate::cli::run::{OutputArgs, browser};
use crate::context::Cx;
use crate::demo::DemoSite;
use crate::env::World;
use crate::env::browser::{BrowserConfig, BrowserWorld, browser_version};
use crate::types::{Seed, Writes};

#[derive(Debug, Args)]
pub(in crate::cli) struct LanesArgs {
    /// Lanes that are open at the same time.
    #[arg(long, value_name = "1..500", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=500))]
    lanes: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Opens lanes on the demo shop and weighs the browser before and after.
pub(super) async fn lanes(args: &LanesArgs, cx: &Cx) -> Result<(), CliError> {
    let binary = browser(&args.output)?;
    let version = browser_version(&binary.path).map_err(environment)?;
    say(&format!("{version}, demo shop, one page a lane"));
    let config = BrowserConfig {
        binary: Some(binary),
        screenshots: false,
        ..BrowserConfig::default()
    };
    let world = BrowserWorld::new(config, Arc::new(DemoSite::new()), "/", Writes::Hold, None);
    // The first lane makes the browser load what all lanes share.
    let first = world.open(Seed(0), cx).await.map_err(environment)?;
    first.close(cx).await.map_err(environment)?;
    let root = world
        .process_id()
        .await
        .ok_or_else(|| environment("the browser is gone"))?;
    let base = weigh(root)?;
    let mut open = Vec::new();
    for _ in 0..args.lanes {
        let mut lane = world.open(Seed(0), cx).await.map_err(environment)?;
        lane.observe(cx).await.map_err(environment)?;
        open.push(lane);
    }
    let full = weigh(root)?;
    for lane in open {
        lane.close(cx).await.map_err(environment)?;
    }
    let each = (full.mib - base.mib) / f64::from(args.lanes);
    if args.output.json {
        print(
            &json!({
                "browser": version,
                "lanes": args.lanes,
                "base_mib": base.mib,
                "base_processes": base.processes,
                "mib": full.mib,
                "processes": full.processes,
                "mib_per_lane": each,
            })
            .to_string(),
        );
    } else {
        print(&format!(
            "{} live lanes: {each:.1} MiB each (browser {:.0} MiB in {} processes, {:.0} MiB in {} without them; proportional set size)",
            args.lanes, full.mib, full.processes, base.mib, base.processes,
        ));
    }
    Ok(())
}

/// Memory of a process and all below it.
#[derive(Debug, Clone, Copy)]
struct Weight {
    /// Proportional set size: shared pages count in part.
    mib: f64,
    processes: usize,
}

/// Weighs the tree of processes under `root`, by `/proc`.
fn weigh(root: i32) -> Result<Weight, CliError> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let listed = fs::read_dir("/proc").map_err(|error| {
        environment(format!(
            "/proc cannot be read, so memory is not known: {error}"
        ))
    })?;
    for entry in listed.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end at any time: then it has no parent and no memory.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut weight = Weight {
        mib: 0.0,
        processes: 0,
    };
    let mut left = vec![root];
    while let Some(id) = left.pop() {
        left.extend(children.remove(&id).unwrap_or_default());
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        if let Some(kib) = pss(&rollup) {
            weight.mib += f64::from(kib) / 1024.0;
            weight.processes += 1;
        }
    }
    if weight.processes == 0 {
        return Err(environment("the browser's memory cannot be read"));
    }
    Ok(weight)
}

/// The parent in a line of `/proc/ID/stat`. The name before it may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The proportional set size in kibibytes.
fn pss(rollup: &str) -> Option<u32> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        assert_eq!(parent("17 (a) (b c) S 4 17 17 0 -1"), Some(4));
        assert_eq!(parent("17 (a"), None);
        let rollup =
            "55-7f ---p 0 00:00 0 [rollup]\nRss:    900 kB\nPss:    612 kB\nPss_Dirty: 3 kB\n";
        assert_eq!(pss(rollup), Some(612));
        assert_eq!(pss(""), None);
    }

    #[test]
    fn a_process_weighs_something() {
        let id = i32::try_from(std::process::id()).unwrap();
        let weight = weigh(id).unwrap();
        assert!(weight.mib > 0.5 && weight.processes >= 1, "{weight:?}");
    }
}
