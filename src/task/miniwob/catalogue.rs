//! Which pages there are, and the tasks they make.

use std::io;
use std::path::{Path, PathBuf};

use super::episode;
use crate::eval::Check;
use crate::located::{nearest, one_of};
use crate::task::{EnvKind, Limits, StartSite, StartSpec, Task, TaskError};
use crate::types::{EffectRules, Writes};

/// The version of the wheel whose pages are used.
pub const VERSION: &str = "1.1.0";

/// How many pages its `html/miniwob` holds.
pub const PAGES: usize = 130;

/// The largest seed: the largest integer that JavaScript keeps apart from its neighbours.
const MAX_SEED: u64 = (1 << 53) - 1;

/// The flight sites that the wheel registers; it holds a fourth, unregistered one.
const FLIGHTS: [&str; 3] = ["AA", "Alaska", "Alaska-auto"];

/// Where the pages lie under the data directory.
#[must_use]
pub fn html_dir(data: &Path) -> PathBuf {
    data.join(format!("miniwob-{VERSION}/miniwob/html"))
}

/// Whether all pages are there.
#[must_use]
pub fn is_fetched(data: &Path) -> bool {
    let html = html_dir(data);
    pages(&html).is_ok_and(|pages| pages.len() == PAGES) && html.join("core/core.js").is_file()
}

/// The names of the pages in `html/miniwob`, sorted.
fn pages(html: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(html.join("miniwob"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "html")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The names of the flight sites that are there.
fn flights(html: &Path) -> Vec<String> {
    FLIGHTS
        .iter()
        .filter(|name| html.join(format!("flight/{name}/wrapper.html")).is_file())
        .map(|name| format!("flight.{name}"))
        .collect()
}

/// The tasks of a spec `miniwob[/NAME][?seed=N|seeds=N,N][&tasks=NAME,NAME]`: by task, then by
/// seed, both in the order given.
///
/// # Errors
/// [`TaskError::NotFetched`] before `branchline fetch miniwob`; [`TaskError::Unknown`] with the
/// nearest names; [`TaskError::Spec`] for a spec that says nothing clear.
pub fn tasks(spec: &str, data: &Path) -> Result<Vec<Task>, TaskError> {
    let wanted = Wanted::parse(spec)?;
    let html = html_dir(data);
    let pages = pages(&html).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TaskError::NotFetched(html.clone()),
        _ => TaskError::Read {
            path: html.join("miniwob"),
            source,
        },
    })?;
    if pages.is_empty() {
        return Err(TaskError::NotFetched(html));
    }
    let flights = flights(&html);
    for name in &wanted.names {
        if !pages.contains(name) && !flights.contains(name) {
            let all = pages.iter().chain(&flights).map(String::as_str);
            return Err(TaskError::Unknown {
                spec: format!("miniwob/{name}"),
                nearest: nearest(name, all)
                    .into_iter()
                    .map(|name| format!("miniwob/{name}"))
                    .collect(),
            });
        }
    }
    let names = if wanted.names.is_empty() {
        pages
    } else {
        wanted.names
    };
    let seeds = &wanted.seeds;
    Ok(names
        .iter()
        .flat_map(|name| seeds.iter().map(|seed| task(name, *seed)))
        .collect())
}

fn task(name: &str, seed: u64) -> Task {
    let path = match name.strip_prefix("flight.") {
        Some(airline) => format!("/flight/{airline}/wrapper.html"),
        None => format!("/miniwob/{name}.html"),
    };
    Task {
        id: format!("miniwob/{name}?seed={seed}"),
        goal: None,
        env: EnvKind::Browser,
        writes: Writes::Checkpoint,
        effects: EffectRules::default(),
        start: StartSpec {
            site: StartSite::Miniwob,
            path,
        },
        limits: Limits::default(),
        checks: vec![Check::Reward { at_least: 1.0 }],
        episode: Some(episode(seed)),
        tools: None,
    }
}

/// What a spec asks for. No names: all pages.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    names: Vec<String>,
    seeds: Vec<u64>,
}

impl Wanted {
    fn parse(spec: &str) -> Result<Self, TaskError> {
        let fail = |reason: String| TaskError::Spec {
            spec: spec.to_owned(),
            reason,
        };
        let (place, query) = spec.split_once('?').unwrap_or((spec, ""));
        let mut names = Vec::new();
        match place.strip_prefix("miniwob") {
            Some("" | "/") => {}
            Some(rest) => names.push(rest.trim_start_matches('/').to_owned()),
            None => return Err(fail("expected it to start with `miniwob`".to_owned())),
        }
        let mut seeds = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "seed" | "seeds" => {
                    if !seeds.is_empty() {
                        return Err(fail("the seeds are given twice".to_owned()));
                    }
                    for part in value.split(',') {
                        seeds.push(seed(part).map_err(&fail)?);
                    }
                }
                "tasks" if !names.is_empty() => {
                    return Err(fail("the tasks are given twice".to_owned()));
                }
                "tasks" => {
                    names = value.split(',').map(str::to_owned).collect();
                    if names.iter().any(String::is_empty) {
                        return Err(fail("`tasks` has an empty name".to_owned()));
                    }
                }
                _ => {
                    let known = ["seed", "seeds", "tasks"];
                    let meant = nearest(key, known).into_iter().next();
                    let meant =
                        meant.map_or_else(String::new, |m| format!("; did you mean `{m}`?"));
                    let known = one_of(&known);
                    return Err(fail(format!(
                        "unknown key `{key}`, expected {known}{meant}"
                    )));
                }
            }
        }
        if seeds.is_empty() {
            seeds.push(0);
        }
        for (i, seed) in seeds.iter().enumerate() {
            if seeds[..i].contains(seed) {
                return Err(fail(format!("seed {seed} is given twice")));
            }
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(fail(format!("task `{name}` is given twice")));
            }
        }
        Ok(Self { names, seeds })
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|seed| *seed <= MAX_SEED)
        .ok_or_else(|| format!("`{text}` is no seed, expected a whole number up to 2^53 - 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data directory with two pages and one flight site.
    fn tiny() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let html = html_dir(data.path());
        for file in [
            "miniwob/click-test.html",
            "miniwob/click-button.html",
            "miniwob/readme.md",
            "flight/AA/wrapper.html",
            "flight/Alaska-auto-medium/wrapper.html",
            "core/core.js",
        ] {
            let path = html.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        data
    }

    fn ids(spec: &str) -> Vec<String> {
        let tasks = tasks(spec, tiny().path()).unwrap();
        tasks.into_iter().map(|task| task.id).collect()
    }

    #[test]
    fn lists_pages_and_seeds() {
        assert_eq!(
            ids("miniwob"),
            ["miniwob/click-button?seed=0", "miniwob/click-test?seed=0"]
        );
        assert_eq!(
            ids("miniwob/click-test?seed=7"),
            ["miniwob/click-test?seed=7"]
        );
        assert_eq!(
            ids("miniwob?seeds=3,1&tasks=click-test,flight.AA"),
            [
                "miniwob/click-test?seed=3",
                "miniwob/click-test?seed=1",
                "miniwob/flight.AA?seed=3",
                "miniwob/flight.AA?seed=1"
            ]
        );
    }

    #[test]
    fn a_task_is_whole() {
        let data = tiny();
        let of = |spec: &str| tasks(spec, data.path()).unwrap().remove(0);
        assert_eq!(
            of("miniwob/click-test?seed=7"),
            Task {
                id: "miniwob/click-test?seed=7".into(),
                goal: None,
                env: EnvKind::Browser,
                writes: Writes::Checkpoint,
                effects: EffectRules::default(),
                start: StartSpec {
                    site: StartSite::Miniwob,
                    path: "/miniwob/click-test.html".into()
                },
                limits: Limits::default(),
                checks: vec![Check::Reward { at_least: 1.0 }],
                episode: Some(episode(7)),
                tools: None,
            }
        );
        assert_eq!(
            of("miniwob/flight.AA").start.path,
            "/flight/AA/wrapper.html"
        );
    }

    #[test]
    fn errors_say_what_to_do() {
        let data = tiny();
        let fail = |spec: &str| {
            let error = tasks(spec, data.path()).unwrap_err();
            let hint = error.hint().unwrap_or_default();
            format!("{error} ({hint})")
        };
        insta::assert_snapshot!(fail("miniwob/clik-test"), @"there is no task, file or directory `miniwob/clik-test` (nearest: miniwob/click-test, miniwob/click-button)");
        insta::assert_snapshot!(fail("miniwob/flight.Alaska-auto-medium"), @"there is no task, file or directory `miniwob/flight.Alaska-auto-medium` (nearest: miniwob/flight.AA)");
        insta::assert_snapshot!(fail("miniwob/../core"), @"there is no task, file or directory `miniwob/../core` (give a task file, a directory, `demo`, `demo/NAME`, `demo-api`, `miniwob`, `miniwob/NAME` or `bfcl/multi_turn_base/N`)");
        insta::assert_snapshot!(fail("miniwob?sedes=1"), @"`miniwob?sedes=1`: unknown key `sedes`, expected one of `seed`, `seeds`, `tasks`; did you mean `seeds`? (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob?seed=-1"), @"`miniwob?seed=-1`: `-1` is no seed, expected a whole number up to 2^53 - 1 (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob?seed=9007199254740992"), @"`miniwob?seed=9007199254740992`: `9007199254740992` is no seed, expected a whole number up to 2^53 - 1 (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob?seeds=1,,2"), @"`miniwob?seeds=1,,2`: `` is no seed, expected a whole number up to 2^53 - 1 (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob?seeds=1,1"), @"`miniwob?seeds=1,1`: seed 1 is given twice (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob?tasks="), @"`miniwob?tasks=`: `tasks` has an empty name (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
        insta::assert_snapshot!(fail("miniwob/click-test?tasks=click-button"), @"`miniwob/click-test?tasks=click-button`: the tasks are given twice (examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`)");
    }

    #[test]
    fn not_fetched_yet() {
        let data = tempfile::tempdir().unwrap();
        let error = tasks("miniwob/click-test", data.path()).unwrap_err();
        assert!(matches!(error, TaskError::NotFetched(_)));
        assert_eq!(error.hint().unwrap(), "run `branchline fetch miniwob`");
        assert!(!is_fetched(data.path()));
        assert!(!is_fetched(tiny().path()));
    }
}
