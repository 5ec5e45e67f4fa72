//! What a task or site file says about its servers.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One site: its servers, and how their state is saved and put back.
///
/// Commands, paths, URLs and header values may hold placeholders: `{port}` and `{origin}` of the
/// server, `{dir}` (its own folder: the copy of a started one, else [`ServerSpec::folder`]) and
/// `{folder}`. Header values and `env` may also name an environment variable, `{env:NAME}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Where its servers come from.
    pub servers: Servers,
    /// How a server is saved and put back; `None` if it cannot be.
    pub checkpoint: Option<Checkpoint>,
    /// The folder of the file that said so: where relative paths start.
    pub folder: PathBuf,
}

/// Where servers come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Servers {
    /// They run already: `http` or `https` origins without trailing slash, at least one. The first
    /// stands for all.
    Running(Vec<String>),
    /// They are started when they are needed, each on a free port in a folder of its own.
    Started(Launch),
}

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Program and arguments; run in the server's own folder, without a shell.
    pub command: Vec<String>,
    /// Files and folders that are copied into the server's folder before it starts.
    pub copy: Vec<PathBuf>,
    /// Environment variables beside the inherited ones.
    pub env: BTreeMap<String, String>,
    /// A path of the server that answers once it is ready.
    pub ready: String,
    /// The longest that becoming ready may take, in seconds.
    pub seconds: NonZeroU64,
    /// Most servers at a time.
    pub most: NonZeroUsize,
}

/// How a server's state is saved and put back. At least one of its ways is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// `SQLite` files, copied by the online backup interface while the server runs.
    pub sqlite: Vec<String>,
    /// Run or called after the files were saved.
    pub save: Option<Hook>,
    /// Run or called after the files were put back.
    pub restore: Option<Hook>,
    /// Headers of both HTTP hooks.
    pub headers: BTreeMap<String, String>,
    /// The longest that saving or putting back may take, in seconds.
    pub seconds: NonZeroU64,
    /// Most that the saved states of one site may take on disk together, in megabytes.
    pub megabytes: NonZeroU32,
}

/// Something that saves or restores what a file copy cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Program and arguments, run without a shell in the server's folder. The environment has
    /// `BRANCHLINE_CHECKPOINT`, an empty folder to save to (a filled one to restore from), and
    /// `BRANCHLINE_ORIGIN`.
    Command(Vec<String>),
    /// A request to the server. `{id}` in the URL is the checkpoint's name.
    Http {
        /// HTTP method, upper case.
        method: String,
        /// A path on the server, or a whole URL.
        url: String,
    },
}

impl Checkpoint {
    /// Whether a state can be saved, and not only put right after a restore.
    #[must_use]
    pub fn saves(&self) -> bool {
        !self.sqlite.is_empty() || self.save.is_some()
    }
}

impl ServerSpec {
    /// A server that runs at `origin` and cannot be put back.
    #[must_use]
    pub fn at(origin: &str) -> Self {
        Self {
            servers: Servers::Running(vec![origin.trim_end_matches('/').to_owned()]),
            checkpoint: None,
            folder: PathBuf::new(),
        }
    }

    /// Whether a server's state can be put back.
    #[must_use]
    pub fn resets(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Whether an evaluator's SQL can be answered.
    #[must_use]
    pub fn answers_sql(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|c| !c.sqlite.is_empty())
    }

    /// The names of the environment variables that it refers to: their values are secrets.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let headers = self.checkpoint.iter().flat_map(|c| c.headers.values());
        let env = match &self.servers {
            Servers::Started(launch) => Some(launch.env.values()),
            Servers::Running(_) => None,
        };
        let mut names: Vec<String> = headers
            .chain(env.into_iter().flatten())
            .flat_map(|text| text.split("{env:").skip(1))
            .filter_map(|rest| rest.split_once('}').map(|(name, _)| name.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What placeholders stand for at one server.
#[cfg(any(feature = "sites", test))]
#[derive(Debug, Clone, Default)]
pub(super) struct Names(pub(super) Vec<(&'static str, String)>);

#[cfg(any(feature = "sites", test))]
impl Names {
    /// `text` with its placeholders filled in, in one pass: what was filled in is not read again.
    /// Braces that name nothing stay.
    ///
    /// # Errors
    /// Which environment variable is not set.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let name = from[1..].split_once('}').map(|(name, _)| name);
            let value = match name {
                Some(name) => self.value(name)?,
                None => None,
            };
            if let (Some(name), Some(value)) = (name, value) {
                out.push_str(&value);
                rest = &from[name.len() + 2..];
            } else {
                out.push('{');
                rest = &from[1..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(variable) = name.strip_prefix("env:") {
            return std::env::var(variable)
                .map(Some)
                .map_err(|_| format!("the environment variable {variable} is not set"));
        }
        let known = self.0.iter().find(|(key, _)| *key == name);
        Ok(known.map(|(_, value)| value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once_and_others_stay() {
        let names = Names(vec![("port", "81".into()), ("dir", "/x/{port}".into())]);
        assert_eq!(names.fill("{dir}:{port}").unwrap(), "/x/{port}:81");
        assert_eq!(names.fill("{\"a\": {port}} {").unwrap(), "{\"a\": 81} {");
        let error = names.fill("{env:BRANCHLINE_NO_SUCH}").unwrap_err();
        assert!(error.contains("BRANCHLINE_NO_SUCH"), "{error}");
    }

    #[test]
    fn referenced_variables_are_known() {
        let mut spec = ServerSpec::at("http://127.0.0.1:1/");
        spec.checkpoint = Some(Checkpoint {
            sqlite: vec!["a".into()],
            save: None,
            restore: None,
            headers: BTreeMap::from([("a".into(), "Bearer {env:B} {env:A}{env:B}".into())]),
            seconds: NonZeroU64::MIN,
            megabytes: NonZeroU32::MIN,
        });
        assert_eq!(spec.variables(), ["A", "B"]);
    }
}
