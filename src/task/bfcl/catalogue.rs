//! Where the package lies, and the tasks it makes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::eval::Check;
use crate::located::nearest;
use crate::task::{EnvKind, Limits, StartSite, StartSpec, Task, TaskError, ToolsSpec};
use crate::types::{EffectRules, Writes};

/// The version of the package.
pub const VERSION: &str = "2026.3.23";

/// What pip installs, with hashes.
pub const REQUIREMENTS: &str = include_str!("../../../fixtures/bfcl/requirements.txt");

/// How many tasks the suite has.
pub const TASKS: usize = 200;

/// The suite that is served: in the others operations come and go between the turns, which one
/// `OpenAPI` document cannot say.
const SUITE: &str = "multi_turn_base";

/// Where the package is under the data directory: a virtual environment.
#[must_use]
pub fn home(data: &Path) -> PathBuf {
    data.join(format!("bfcl-{VERSION}"))
}

/// The Python that has the package.
#[must_use]
pub fn python(data: &Path) -> PathBuf {
    home(data).join("bin/python")
}

/// Whether the package is there.
#[must_use]
pub fn is_fetched(data: &Path) -> bool {
    python(data).exists() && questions(data).is_some()
}

/// The file of the suite's questions.
fn questions(data: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(home(data).join("lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|version| {
            let package = version.path().join("site-packages/bfcl_eval");
            package.join(format!("data/BFCL_v4_{SUITE}.json"))
        })
        .find(|file| file.is_file())
}

/// A line of the questions: only what a user would say.
#[derive(Deserialize)]
struct Entry {
    id: String,
    question: Vec<Vec<Said>>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
}

/// The tasks of a spec `bfcl/multi_turn_base[/N | ?n=A..B | ?n=A,B]`, in the order given. Both ends
/// of a range belong to it.
///
/// # Errors
/// [`TaskError::NotThere`] before `branchline fetch bfcl`; [`TaskError::Spec`] for a spec that says
/// nothing clear.
pub fn tasks(spec: &str, data: &Path) -> Result<Vec<Task>, TaskError> {
    let numbers = numbers(spec)?;
    let file = questions(data).ok_or_else(|| TaskError::NotThere {
        what: "the BFCL package",
        path: home(data),
        hint: "run `branchline fetch bfcl`",
    })?;
    let text = std::fs::read_to_string(&file).map_err(|source| TaskError::Read {
        path: file.clone(),
        source,
    })?;
    let entries = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(serde_json::from_str::<Entry>)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TaskError::Read {
            path: file,
            source: std::io::Error::other(error),
        })?;
    let one = |number: usize| {
        let id = format!("{SUITE}_{number}");
        let entry = entries.iter().find(|entry| entry.id == id);
        entry.map(|entry| task(entry, number)).ok_or_else(|| {
            let most = entries.len().saturating_sub(1);
            wrong(spec, format!("there is no task {number}: 0 to {most}"))
        })
    };
    numbers.into_iter().map(one).collect()
}

fn wrong(spec: &str, reason: String) -> TaskError {
    TaskError::Spec {
        spec: spec.to_owned(),
        reason,
    }
}

/// The numbers that a spec names.
fn numbers(spec: &str) -> Result<Vec<usize>, TaskError> {
    let fail = |reason: String| wrong(spec, reason);
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| fail(format!("`{text}` is no number of a task")))
    };
    let (place, query) = spec.split_once('?').unwrap_or((spec, ""));
    let place = place.strip_prefix("bfcl").unwrap_or(place);
    let parts: Vec<&str> = place.split('/').filter(|part| !part.is_empty()).collect();
    let (suite, single) = match parts[..] {
        [] => (SUITE, None),
        [suite] => (suite, None),
        [suite, one] => (suite, Some(number(one)?)),
        _ => return Err(fail(format!("expected `bfcl/{SUITE}/N`"))),
    };
    if suite != SUITE {
        let meant = nearest(suite, [SUITE]);
        let meant = meant
            .first()
            .map_or_else(String::new, |m| format!("; did you mean `{m}`?"));
        return Err(fail(format!(
            "there is no suite `{suite}`, only `{SUITE}`{meant}"
        )));
    }
    match (single, query) {
        (Some(one), "") => Ok(vec![one]),
        (Some(_), _) => Err(fail("the numbers are given twice".to_owned())),
        (None, "") => Ok((0..TASKS).collect()),
        (None, query) => {
            let list = query
                .strip_prefix("n=")
                .filter(|list| !list.contains('&'))
                .ok_or_else(|| fail("expected `?n=0..9` or `?n=1,5`".to_owned()))?;
            let mut numbers = Vec::new();
            for part in list.split(',') {
                match part.split_once("..") {
                    None => numbers.push(number(part)?),
                    Some((from, to)) => {
                        let (from, to) = (number(from)?, number(to)?);
                        if from > to || to >= TASKS {
                            let most = TASKS - 1;
                            return Err(fail(format!("`{part}` is no range within 0..{most}")));
                        }
                        numbers.extend(from..=to);
                    }
                }
            }
            Ok(numbers)
        }
    }
}

fn task(entry: &Entry, number: usize) -> Task {
    let mut goal = String::from(
        "Do what the user asks, one request after the other. When everything that a request needs \
         is done, call end_turn; after the last one, too. Then finish.",
    );
    for (n, turn) in (1..).zip(&entry.question) {
        let said: Vec<&str> = turn
            .iter()
            .filter(|said| said.role == "user")
            .map(|said| said.content.trim())
            .collect();
        let _written = write!(goal, "\n{n}. {}", said.join("\n"));
    }
    Task {
        id: format!("bfcl/{SUITE}/{number}"),
        goal: Some(goal),
        env: EnvKind::Tools,
        writes: Writes::Checkpoint,
        effects: EffectRules::default(),
        start: StartSpec {
            site: StartSite::Bfcl(entry.id.clone()),
            path: "/".to_owned(),
        },
        limits: Limits::default(),
        checks: vec![Check::Reward { at_least: 1.0 }],
        episode: None,
        tools: Some(ToolsSpec {
            registry: "bfcl".to_owned(),
            only: Vec::new(),
            top_k: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(spec: &str) -> String {
        numbers(spec).unwrap_err().to_string()
    }

    #[test]
    fn which_tasks_are_meant() {
        assert_eq!(numbers("bfcl/multi_turn_base/7").unwrap(), [7]);
        assert_eq!(
            numbers("bfcl/multi_turn_base?n=3..5,9").unwrap(),
            [3, 4, 5, 9]
        );
        assert_eq!(numbers("bfcl").unwrap().len(), TASKS);
        insta::assert_snapshot!(fails("bfcl/multi_turn_bas/1"), @"`bfcl/multi_turn_bas/1`: there is no suite `multi_turn_bas`, only `multi_turn_base`; did you mean `multi_turn_base`?");
        insta::assert_snapshot!(fails("bfcl/multi_turn_base/x"), @"`bfcl/multi_turn_base/x`: `x` is no number of a task");
        insta::assert_snapshot!(fails("bfcl/multi_turn_base?n=5..3"), @"`bfcl/multi_turn_base?n=5..3`: `5..3` is no range within 0..199");
        insta::assert_snapshot!(fails("bfcl/multi_turn_base?seed=3"), @"`bfcl/multi_turn_base?seed=3`: expected `?n=0..9` or `?n=1,5`");
        let hint = numbers("bfcl/multi_turn_base/x").unwrap_err().hint();
        insta::assert_snapshot!(hint.unwrap(), @"examples: `bfcl/multi_turn_base/7`, `bfcl/multi_turn_base?n=0..9`");
    }

    #[test]
    fn only_what_the_user_says_is_the_goal() {
        let line = r#"{"id": "multi_turn_base_0", "question": [[{"role": "user", "content": "List all."}], [{"role": "system", "content": "x"}, {"role": "user", "content": "Now sort."}]], "initial_config": {}}"#;
        let task = task(&serde_json::from_str(line).unwrap(), 0);
        insta::assert_snapshot!(task.goal.unwrap(), @r"
        Do what the user asks, one request after the other. When everything that a request needs is done, call end_turn; after the last one, too. Then finish.
        1. List all.
        2. Now sort.
        ");
    }

    #[test]
    fn needs_the_package() {
        let data = tempfile::tempdir().unwrap();
        let error = tasks("bfcl/multi_turn_base/0", data.path()).unwrap_err();
        assert_eq!(error.hint().unwrap(), "run `branchline fetch bfcl`");
    }
}
