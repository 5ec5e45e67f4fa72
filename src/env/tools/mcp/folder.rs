//! A process's own folder, and the name that it has outside of the process.

use serde_json::Value;

/// What stands for the process's own folder in its arguments and environment.
pub const OWN_FOLDER: &str = "{dir}";

/// The folder's two names.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its path, which no other process has.
    real: String,
    /// What everybody else calls it.
    shown: String,
}

impl Folder {
    pub(super) fn new(real: String, source: &str) -> Self {
        Self {
            real,
            shown: format!("/{source}"),
        }
    }

    /// A text of the configuration for this process.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace(OWN_FOLDER, &self.real)
    }

    /// Arguments as the server is to see them: paths within the folder are its real ones.
    pub(super) fn inward(&self, value: &Value) -> Value {
        mapped(value, &|text| match text.strip_prefix(&self.shown) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", self.real)
            }
            Some(_) | None => text.to_owned(),
        })
    }

    /// What the server said, as everybody is to see it.
    pub(super) fn outward(&self, value: &Value) -> Value {
        mapped(value, &|text| text.replace(&self.real, &self.shown))
    }
}

/// The value with every text in it changed; keys stay.
fn mapped(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| mapped(item, change)).collect(),
        Value::Object(map) => {
            let fields = map.iter();
            Value::Object(
                fields
                    .map(|(key, value)| (key.clone(), mapped(value, change)))
                    .collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_have_one_name_outside_and_one_inside() {
        let folder = Folder::new("/tmp/branchline-mcp-x/files".to_owned(), "notes");
        let asked = json!({"path": "/notes/a.txt", "paths": ["/notes", "/notesbook"], "n": 1});
        let real = json!({
            "path": "/tmp/branchline-mcp-x/files/a.txt",
            "paths": ["/tmp/branchline-mcp-x/files", "/notesbook"],
            "n": 1
        });
        assert_eq!(folder.inward(&asked), real);
        assert_eq!(folder.outward(&real), asked);
        // What the server says of a path may stand anywhere in a text.
        let said = json!("cannot open /tmp/branchline-mcp-x/files/b: none");
        assert_eq!(folder.outward(&said), json!("cannot open /notes/b: none"));
        assert_eq!(
            folder.fill("--root={dir}"),
            "--root=/tmp/branchline-mcp-x/files"
        );
    }
}
