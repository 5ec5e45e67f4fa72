//! A document as it was written: its text as a value, its version, its references.

use serde_json::Value;

/// No document is larger than this, in bytes.
pub const MAX_DOCUMENT: usize = 64 << 20;

/// Which rules a document was written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Swagger 2.0.
    V2,
    /// OpenAPI 3.0.
    V3,
    /// OpenAPI 3.1 and 3.2: schemas are JSON Schema 2020-12.
    V31,
}

/// Why a text is no OpenAPI document. Completes "the document …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT`].
    #[error("is larger than 64 MiB")]
    TooLarge,
    /// Not UTF-8.
    #[error("is not UTF-8 text (byte {0})")]
    NotText(usize),
    /// A web page.
    #[error("is a web page, not an OpenAPI document")]
    WebPage,
    /// Broken JSON or YAML.
    #[error("is no {format}: {reason}")]
    Syntax {
        /// "JSON" or "YAML".
        format: &'static str,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// Well-formed, and something else.
    #[error("{0}")]
    NotOpenApi(String),
}

/// A document.
#[derive(Debug)]
pub struct Document {
    /// All of it.
    pub root: Value,
    /// Its version.
    pub version: Version,
}

impl Document {
    /// Reads JSON or YAML.
    ///
    /// # Errors
    /// [`DocumentError`] with the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text =
            std::str::from_utf8(bytes).map_err(|e| DocumentError::NotText(e.valid_up_to()))?;
        let start = text.trim_start();
        let root: Value = match start.bytes().next() {
            Some(b'{' | b'[') => {
                serde_json::from_str(text).or_else(|json| {
                    // Flow YAML looks like JSON. If it is neither, JSON was meant.
                    let syntax = || DocumentError::Syntax {
                        format: "JSON",
                        reason: json.to_string(),
                    };
                    if text.len() > 1 << 20 || !json.is_syntax() {
                        return Err(syntax());
                    }
                    yaml(text).map_err(|_| syntax())
                })?
            }
            Some(b'<') => return Err(DocumentError::WebPage),
            Some(_) => yaml(text)?,
            None => return Err(DocumentError::NotOpenApi("is empty".to_owned())),
        };
        let version = version(&root)?;
        Ok(Self { root, version })
    }

    /// What a reference within the document means. `None` for other documents and for nothing.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Option<&Value> {
        let pointer = reference.strip_prefix('#')?;
        if let Some(found) = self.root.pointer(pointer) {
            return Some(found);
        }
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8();
        self.root.pointer(decoded.ok()?.as_ref())
    }

    /// `value`, or what its `$ref` means, through at most 16 references.
    #[must_use]
    pub fn follow<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        let mut at = value;
        for _ in 0..16 {
            match at.get("$ref").and_then(Value::as_str) {
                Some(reference) => at = self.resolve(reference)?,
                None => return Some(at),
            }
        }
        None
    }

    /// The title its author gave it.
    #[must_use]
    pub fn title(&self) -> &str {
        let title = self.root.pointer("/info/title").and_then(Value::as_str);
        title.unwrap_or_default()
    }
}

fn yaml(text: &str) -> Result<Value, DocumentError> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_reader_input_bytes = Some(MAX_DOCUMENT);
    budget.max_events = 20_000_000;
    budget.max_nodes = 10_000_000;
    budget.max_depth = 200;
    budget.max_total_scalar_bytes = MAX_DOCUMENT;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    serde_saphyr::from_str_with_options(text, options).map_err(|error| DocumentError::Syntax {
        format: "YAML",
        reason: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    })
}

fn version(root: &Value) -> Result<Version, DocumentError> {
    let not = |reason: String| Err(DocumentError::NotOpenApi(reason));
    let Some(map) = root.as_object() else {
        return not("is no object with `openapi` or `swagger` in it".to_owned());
    };
    // YAML writers leave the quotes off: `swagger: 2.0` is a number.
    let text = |key: &str| match map.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let version = match (text("openapi"), text("swagger")) {
        (Some(found), _) if found == "3" || found.starts_with("3.0") => Version::V3,
        (Some(found), _) if found.starts_with("3.1") || found.starts_with("3.2") => Version::V31,
        (None, Some(found)) if found == "2" || found.starts_with("2.") => Version::V2,
        (Some(found), _) => {
            return not(format!(
                "is OpenAPI {found:?}: versions 2.0, 3.0 and 3.1 are understood"
            ));
        }
        (None, Some(found)) => {
            return not(format!(
                "is Swagger {found:?}: version 2.0 is the oldest that is understood"
            ));
        }
        (None, None) => return not("has neither `openapi` nor `swagger` at its top".to_owned()),
    };
    match map.get("paths") {
        Some(Value::Object(_)) => Ok(version),
        None | Some(Value::Null) if version == Version::V31 => Ok(version),
        None | Some(Value::Null) => not("has no `paths`".to_owned()),
        Some(_) => not("has `paths` that are no object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        format!(
            "the document {}",
            Document::parse(text.as_bytes()).unwrap_err()
        )
    }

    #[test]
    fn versions_in_json_and_yaml() {
        for (text, version) in [
            (r#"{"swagger":"2.0","paths":{}}"#, Version::V2),
            ("swagger: 2.0\npaths: {}\n", Version::V2),
            (
                "openapi: 3.0.3\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n",
                Version::V3,
            ),
            ("openapi: '3.1.0'\n", Version::V31),
            ("\u{feff}{\"openapi\":\"3.0.0\",\"paths\":{}}", Version::V3),
            ("{openapi: 3.0.0, paths: {}}", Version::V3),
        ] {
            assert_eq!(
                Document::parse(text.as_bytes()).unwrap().version,
                version,
                "{text}"
            );
        }
        let yaml = Document::parse(b"openapi: 3.0.0\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n").unwrap();
        let ok = yaml
            .root
            .pointer("/paths/~1a/get/responses/200/description");
        assert_eq!(ok, Some(&Value::from("ok")));
    }

    #[test]
    fn faults_say_what_it_is_instead() {
        insta::assert_snapshot!(fault(""), @"the document is empty");
        insta::assert_snapshot!(fault("<!doctype html>"), @"the document is a web page, not an OpenAPI document");
        insta::assert_snapshot!(fault("{\"openapi\": \"3.0.0\",\n \"paths\": {"), @"the document is no JSON: EOF while parsing an object at line 2 column 11");
        insta::assert_snapshot!(fault("a: [1\nb: 2"), @"the document is no YAML: error: line 2 column 2: illegal placement of ':' indicator");
        insta::assert_snapshot!(fault("[1, 2]"), @"the document is no object with `openapi` or `swagger` in it");
        insta::assert_snapshot!(fault("{\"a\": 1}"), @"the document has neither `openapi` nor `swagger` at its top");
        insta::assert_snapshot!(fault("{\"openapi\": \"4.0\"}"), @r#"the document is OpenAPI "4.0": versions 2.0, 3.0 and 3.1 are understood"#);
        insta::assert_snapshot!(fault("{\"swagger\": \"1.2\"}"), @r#"the document is Swagger "1.2": version 2.0 is the oldest that is understood"#);
        insta::assert_snapshot!(fault("{\"openapi\": \"3.0.1\"}"), @"the document has no `paths`");
        insta::assert_snapshot!(fault("{\"openapi\": \"3.0.1\", \"paths\": []}"), @"the document has `paths` that are no object");
        assert_eq!(
            Document::parse(b"a\xff").unwrap_err(),
            DocumentError::NotText(1)
        );
        let deep = format!("{{\"openapi\":\"3.0.0\",\"paths\":{}", "[".repeat(100_000));
        assert!(fault(&deep).contains("recursion limit exceeded"));
    }

    #[test]
    fn references() {
        let text = r##"{"openapi":"3.0.0","paths":{},"a b":{"~/":1},"x":{"$ref":"#/y"},"y":{"$ref":"#/z"},"z":2,"loop":{"$ref":"#/loop"}}"##;
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.resolve("#/a%20b/~0~1"), Some(&Value::from(1)));
        assert_eq!(document.follow(&document.root["x"]), Some(&Value::from(2)));
        assert_eq!(document.follow(&document.root["loop"]), None);
        assert_eq!(document.resolve("other.yaml#/a"), None);
    }
}
