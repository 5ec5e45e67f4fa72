//! Values by reference, and names by pattern.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A text of a registry that may stand for a secret. Printing it prints the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As it is.
    Plain(String),
    /// `env:NAME`: from the environment.
    Env(String),
    /// `secret:NAME`: from the registry's secrets file.
    Secret(String),
}

impl Text {
    /// Reads the written form.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(name) = text.strip_prefix("env:") {
            Self::Env(name.to_owned())
        } else if let Some(name) = text.strip_prefix("secret:") {
            Self::Secret(name.to_owned())
        } else {
            Self::Plain(text.to_owned())
        }
    }

    /// Whether it is a reference, so that its value must not be shown.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a reference has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The registry names no secrets file.
    #[error("`secret:{0}` needs a secrets file: put `secrets = \"FILE\"` at the registry's top")]
    NoFile(String),
    /// The file has no such name.
    #[error("{file} has no `{name}`")]
    Missing {
        /// The secrets file.
        file: PathBuf,
        /// The name.
        name: String,
    },
    /// The file cannot be read as one.
    #[error("{file} {reason}")]
    File {
        /// The secrets file.
        file: PathBuf,
        /// What is wrong with it; never quotes it.
        reason: String,
    },
}

/// The values that references stand for. Never printed.
#[derive(Clone, Default)]
pub struct Secrets {
    file: Option<PathBuf>,
    values: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} values)", self.values.len())
    }
}

impl Secrets {
    /// Reads a secrets file: TOML, `NAME = "value"`.
    ///
    /// # Errors
    /// [`SecretError::File`]; the message never quotes the file.
    pub fn open(file: Option<&Path>) -> Result<Self, SecretError> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let fail = |reason: String| SecretError::File {
            file: file.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| fail(format!("cannot be read: {error}")))?;
        let values = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text
                .get(..at)
                .map_or(0, |before| before.matches('\n').count())
                + 1;
            fail(format!("is not a list of NAME = \"value\" (line {line})"))
        })?;
        Ok(Self {
            file: Some(file.to_owned()),
            values,
        })
    }

    /// The value of a text.
    ///
    /// # Errors
    /// [`SecretError`] for a reference without a value.
    pub fn resolve(&self, text: &Text) -> Result<String, SecretError> {
        match text {
            Text::Plain(text) => Ok(text.clone()),
            Text::Env(name) => std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| SecretError::Unset(name.clone())),
            Text::Secret(name) => {
                let Some(file) = &self.file else {
                    return Err(SecretError::NoFile(name.clone()));
                };
                let value = self.values.get(name).cloned();
                value.ok_or_else(|| SecretError::Missing {
                    file: file.clone(),
                    name: name.clone(),
                })
            }
        }
    }
}

/// A pattern of names: `*` stands for any characters, everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// A pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        crate::types::glob(&self.0, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, fits, not) in [
            (
                "list_pets",
                vec!["list_pets"],
                vec!["list_pet", "list_pets2"],
            ),
            ("list_*", vec!["list_", "list_pets"], vec!["alist_"]),
            (
                "* /pets/*",
                vec!["GET /pets/{id}", "DELETE /pets/"],
                vec!["GET /pets"],
            ),
            ("a*b*c", vec!["abc", "aXbYc", "abbcc"], vec!["acb", "ab"]),
            ("*", vec!["", "x"], vec![]),
            ("a*a", vec!["aa", "aXa"], vec!["a"]),
        ] {
            let glob = Glob::new(pattern);
            assert!(fits.iter().all(|name| glob.matches(name)), "{pattern}");
            assert!(!not.iter().any(|name| glob.matches(name)), "{pattern}");
        }
    }

    #[test]
    fn references_print_as_references() {
        for text in ["plain", "env:TOKEN", "secret:token"] {
            assert_eq!(Text::parse(text).to_string(), text);
        }
        let none = Secrets::default();
        insta::assert_snapshot!(
            none.resolve(&Text::parse("env:BRANCHLINE_NO_SUCH_VARIABLE")).unwrap_err(),
            @"the environment variable `BRANCHLINE_NO_SUCH_VARIABLE` is not set"
        );
        insta::assert_snapshot!(
            none.resolve(&Text::parse("secret:x")).unwrap_err(),
            @r#"`secret:x` needs a secrets file: put `secrets = "FILE"` at the registry's top"#
        );
    }

    #[test]
    fn a_secrets_file_is_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, "token = \"hunter22\"\n").unwrap();
        let secrets = Secrets::open(Some(&file)).unwrap();
        assert_eq!(
            secrets.resolve(&Text::parse("secret:token")).unwrap(),
            "hunter22"
        );
        let missing = secrets.resolve(&Text::parse("secret:other")).unwrap_err();
        assert!(missing.to_string().ends_with("s.toml has no `other`"));
        assert!(!format!("{secrets:?} {missing}").contains("hunter22"));

        std::fs::write(&file, "a = \"1\"\ntoken = hunter22\n").unwrap();
        let broken = Secrets::open(Some(&file)).unwrap_err().to_string();
        assert!(
            broken.ends_with("is not a list of NAME = \"value\" (line 2)"),
            "{broken}"
        );
    }
}
