//! From what a user typed to tasks.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::format::parse;
use super::spec::Task;
use super::{bfcl, miniwob};
use crate::located::{FormatError, nearest};

/// The tasks built into the program.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/tasks");

/// No task file is larger than this, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why there are no tasks. Completes "failed to load tasks: …".
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file or directory could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no task.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A directory without tasks.
    #[error("{0} holds no *.toml file")]
    Empty(PathBuf),
    /// Nothing is called so.
    #[error("there is no task, file or directory `{spec}`")]
    Unknown {
        /// What was asked for.
        spec: String,
        /// What was probably meant, nearest first.
        nearest: Vec<String>,
    },
    /// A `miniwob` spec that says something impossible.
    #[error("`{spec}`: {reason}")]
    Spec {
        /// The spec.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The benchmark's pages are not on this machine.
    #[error("the MiniWoB pages are not in {0}")]
    NotFetched(PathBuf),
    /// A benchmark is not on this machine.
    #[error("{what} is not in {path}")]
    NotThere {
        /// What is missing.
        what: &'static str,
        /// Where it would be.
        path: PathBuf,
        /// How it gets there.
        hint: &'static str,
    },
    /// Nothing says where data is kept.
    #[error("no directory for data: BRANCHLINE_DATA, XDG_DATA_HOME and HOME are all unset")]
    NoDataDir,
}

impl TaskError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Format(_) => Some("the format is described in docs/tasks.md".to_owned()),
            Self::Empty(_) => Some("name a directory of task files, or one file".to_owned()),
            Self::Unknown { nearest, .. } if nearest.is_empty() => Some(
                "give a task file, a directory, `demo`, `demo/NAME`, `demo-api`, `miniwob`, \
                 `miniwob/NAME` or `bfcl/multi_turn_base/N`"
                    .to_owned(),
            ),
            Self::Unknown { nearest, .. } => Some(format!("nearest: {}", nearest.join(", "))),
            Self::Spec { spec, .. } if spec.starts_with("bfcl") => {
                Some("examples: `bfcl/multi_turn_base/7`, `bfcl/multi_turn_base?n=0..9`".to_owned())
            }
            Self::Spec { .. } => Some(
                "examples: `miniwob/click-test?seed=7`, `miniwob?seeds=0,1&tasks=a,b`".to_owned(),
            ),
            Self::NotFetched(_) => Some("run `branchline fetch miniwob`".to_owned()),
            Self::NotThere { hint, .. } => Some((*hint).to_owned()),
            Self::NoDataDir => Some("set BRANCHLINE_DATA to a directory".to_owned()),
        }
    }
}

/// The tasks that `spec` names (see the module's table), never none.
///
/// # Errors
/// [`TaskError`], with a [`TaskError::hint`].
pub fn load(spec: &str) -> Result<Vec<Task>, TaskError> {
    load_in(spec, super::data_dir().as_deref())
}

/// [`load`] with fetched data in `data`.
///
/// # Errors
/// [`TaskError`], with a [`TaskError::hint`].
pub fn load_in(spec: &str, data: Option<&Path>) -> Result<Vec<Task>, TaskError> {
    let path = Path::new(spec);
    if path.is_dir() {
        return directory(path);
    }
    if path.exists() {
        return Ok(vec![file(path)?]);
    }
    if spec == "demo" || spec == "demo-api" || spec.starts_with("demo/") {
        return built_in(spec);
    }
    if let Some(rest) = spec.strip_prefix("miniwob")
        && (rest.is_empty() || rest.starts_with(['/', '?']))
    {
        return miniwob::tasks(spec, data.ok_or(TaskError::NoDataDir)?);
    }
    if let Some(rest) = spec.strip_prefix("bfcl")
        && (rest.is_empty() || rest.starts_with(['/', '?']))
    {
        return bfcl::tasks(spec, data.ok_or(TaskError::NoDataDir)?);
    }
    Err(unknown(spec, beside(path).into_iter().chain(names())))
}

fn directory(path: &Path) -> Result<Vec<Task>, TaskError> {
    let files = toml_files(path).map_err(|source| TaskError::Read {
        path: path.to_owned(),
        source,
    })?;
    if files.is_empty() {
        return Err(TaskError::Empty(path.to_owned()));
    }
    files.iter().map(|path| file(path)).collect()
}

/// The `*.toml` files of a directory, sorted.
fn toml_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file(path: &Path) -> Result<Task, TaskError> {
    let fail = |source| TaskError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(fail)?.len() > MAX_FILE {
        return Err(fail(std::io::Error::other("larger than 1 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    Ok(parse(&text, &path.display().to_string(), &id(path))?)
}

/// `tasks/demo/mug.toml` is `demo/mug`.
fn id(path: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let stem = text(path.file_stem());
    match text(path.parent().and_then(Path::file_name)) {
        folder if folder.is_empty() => stem,
        folder => format!("{folder}/{stem}"),
    }
}

fn built_in(spec: &str) -> Result<Vec<Task>, TaskError> {
    let wanted = spec
        .strip_suffix(".toml")
        .unwrap_or(spec)
        .trim_end_matches('/');
    let mut tasks = Vec::new();
    for (name, text) in built_in_files() {
        let of_api = name.starts_with(API);
        let meant = match wanted {
            "demo" => !of_api,
            "demo-api" => of_api,
            one => one == name,
        };
        if meant {
            tasks.push(parse(text, &format!("{name}.toml (built in)"), &name)?);
        }
    }
    if tasks.is_empty() {
        return Err(unknown(spec, names()));
    }
    Ok(tasks)
}

/// How the names of the tasks of the shop's API begin.
const API: &str = "demo/api-";

/// Names and texts of the tasks built in, sorted by name.
fn built_in_files() -> Vec<(String, &'static str)> {
    let mut files: Vec<_> = BUILT_IN
        .get_dir("demo")
        .into_iter()
        .flat_map(Dir::files)
        .filter(|file| file.path().extension().is_some_and(|e| e == "toml"))
        .filter_map(|file| Some((id(file.path()), file.contents_utf8()?)))
        .collect();
    files.sort();
    files
}

/// What can be named without a path.
fn names() -> impl Iterator<Item = String> {
    let built_in = built_in_files().into_iter().map(|(name, _)| name);
    ["demo", "demo-api", "miniwob", "bfcl/multi_turn_base"]
        .into_iter()
        .map(str::to_owned)
        .chain(built_in)
}

/// Task files in the directory in which `path` would be.
fn beside(path: &Path) -> Vec<String> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Only for suggestions: a directory that cannot be read suggests nothing.
    let files = toml_files(folder).unwrap_or_default();
    files
        .iter()
        .map(|file| file.strip_prefix(".").unwrap_or(file).display().to_string())
        .collect()
}

fn unknown(spec: &str, names: impl IntoIterator<Item = String>) -> TaskError {
    TaskError::Unknown {
        spec: spec.to_owned(),
        nearest: nearest(spec, names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str =
        "goal = \"g\"\n[start]\nsite = \"demo\"\n[[check]]\nkind = \"reward\"\nat_least = 1\n";

    fn ids(spec: &Path) -> Vec<String> {
        let tasks = load_in(spec.to_str().unwrap(), None).unwrap();
        tasks.into_iter().map(|task| task.id).collect()
    }

    #[test]
    fn files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let suite = dir.path().join("suite");
        std::fs::create_dir_all(suite.join("deeper.toml")).unwrap();
        for name in ["b.toml", "a.toml", "notes.txt"] {
            std::fs::write(suite.join(name), TASK).unwrap();
        }
        assert_eq!(ids(&suite), ["suite/a", "suite/b"]);
        assert_eq!(ids(&suite.join("b.toml")), ["suite/b"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let spec = dir.path().join(name);
            load_in(spec.to_str().unwrap(), None).unwrap_err()
        };
        assert!(matches!(load(""), TaskError::Empty(_)));

        std::fs::write(dir.path().join("mug.toml"), TASK).unwrap();
        let TaskError::Unknown { nearest, .. } = load("mgu.toml") else {
            panic!("a file that is not there");
        };
        assert_eq!(nearest, [dir.path().join("mug.toml").display().to_string()]);

        std::fs::write(dir.path().join("bytes.toml"), b"goal = \"\xff\"").unwrap();
        assert!(matches!(load("bytes.toml"), TaskError::Read { .. }));

        let huge = "#".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        std::fs::write(dir.path().join("huge.toml"), huge).unwrap();
        assert!(load("huge.toml").to_string().ends_with("larger than 1 MiB"));
    }

    #[test]
    fn names_that_nothing_has() {
        let error = load_in("demmo", None).unwrap_err();
        assert_eq!(error.hint().unwrap(), "nearest: demo, demo-api");
        let error = load_in("zzz", None).unwrap_err();
        assert!(error.hint().unwrap().starts_with("give a task file"));
        assert!(matches!(
            load_in("demo/no-such-task-at-all", None),
            Err(TaskError::Unknown { .. })
        ));
        assert!(matches!(
            load_in("miniwob", None),
            Err(TaskError::NoDataDir)
        ));
    }
}
