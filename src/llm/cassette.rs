//! Recorded exchanges: a model that answers only what it has heard before.
//!
//! One JSON object a line: `{key, ordinal, model, request, reply}`. `key` is the digest of the
//! canonical request (it holds no key of a provider); `ordinal` counts equal requests, so that
//! sampling the same prompt twice gives the two recorded replies in order.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ChatError, ChatModel, ChatReply, ChatRequest};
use crate::context::Cx;
use crate::types::Digest;

/// What a cassette does with a request it does not hold.
pub enum Mode {
    /// It fails with [`ChatError::NotRecorded`].
    Replay,
    /// It asks this model and appends the reply to the file.
    Record(Arc<dyn ChatModel>),
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replay => f.write_str("Replay"),
            Self::Record(model) => write!(f, "Record({})", model.name()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: Digest,
    ordinal: u32,
    model: String,
    request: ChatRequest,
    reply: ChatReply,
}

#[derive(Debug, Default)]
struct Tape {
    entries: BTreeMap<(String, u32), Entry>,
    heard: HashMap<Digest, u32>,
    file: Option<File>,
}

/// A chat model that replays, or records, a file of exchanges.
#[derive(Debug)]
pub struct Cassette {
    name: String,
    path: PathBuf,
    mode: Mode,
    tape: Mutex<Tape>,
}

impl Cassette {
    /// Opens a cassette. Recording creates the file where it is missing, and keeps what it holds:
    /// only new requests reach the model. To record afresh, delete the file.
    ///
    /// # Errors
    /// [`ChatError::Config`] if the file cannot be read or written, or a line is no entry.
    pub fn open(path: impl AsRef<Path>, mode: Mode) -> Result<Self, ChatError> {
        let path = path.as_ref().to_owned();
        let fail = |what: &str, why: String| {
            ChatError::Config(format!(
                "cannot {what} the cassette {}: {why}",
                path.display()
            ))
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e)
                if e.kind() == std::io::ErrorKind::NotFound && matches!(mode, Mode::Record(_)) =>
            {
                String::new()
            }
            Err(e) => return Err(fail("read", e.to_string())),
        };
        let mut tape = Tape::default();
        for (i, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim().is_empty())
        {
            let entry: Entry = serde_json::from_str(line)
                .map_err(|e| fail("read", format!("line {}: {e}", i + 1)))?;
            if entry.key != key(&entry.request) {
                return Err(fail(
                    "read",
                    format!("line {}: the key is not the request's", i + 1),
                ));
            }
            tape.entries
                .insert((entry.key.to_string(), entry.ordinal), entry);
        }
        if let Mode::Record(_) = mode {
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(|e| fail("write", e.to_string()))?;
            if !text.is_empty() && !text.ends_with('\n') {
                file.write_all(b"\n")
                    .map_err(|e| fail("write", e.to_string()))?;
            }
            tape.file = Some(file);
        }
        let name = match &mode {
            Mode::Record(model) => model.name().to_owned(),
            Mode::Replay => tape
                .entries
                .values()
                .next()
                .map_or_else(|| "cassette".to_owned(), |e| e.model.clone()),
        };
        Ok(Self {
            name,
            path,
            mode,
            tape: Mutex::new(tape),
        })
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why `request` has no reply here.
    fn missing(tape: &Tape, key: Digest, ordinal: u32, request: &ChatRequest) -> ChatError {
        let same = tape
            .entries
            .keys()
            .filter(|(k, _)| *k == key.to_string())
            .count();
        if same > 0 {
            return ChatError::NotRecorded(format!(
                "request {} was recorded {same} times and is asked for the {}th time",
                key.short(),
                ordinal + 1
            ));
        }
        let wanted = canonical(request);
        let nearest = tape
            .entries
            .values()
            .max_by_key(|entry| common(&wanted, &canonical(&entry.request)));
        let detail = nearest.map_or_else(
            || "the cassette is empty".to_owned(),
            |entry| {
                let (ours, theirs) = (json(request), json(&entry.request));
                format!(
                    "nearest is {}: {}",
                    entry.key.short(),
                    difference("request", &ours, &theirs).unwrap_or_default()
                )
            },
        );
        ChatError::NotRecorded(format!("request {}; {detail}", key.short()))
    }
}

#[async_trait]
impl ChatModel for Cassette {
    fn name(&self) -> &str {
        &self.name
    }

    async fn chat(&self, request: &ChatRequest, cx: &Cx) -> Result<ChatReply, ChatError> {
        let key = key(request);
        let (ordinal, model) = {
            let mut tape = self.tape();
            let count = tape.heard.entry(key).or_default();
            let ordinal = *count;
            *count += 1;
            if let Some(entry) = tape.entries.get(&(key.to_string(), ordinal)) {
                return Ok(entry.reply.clone());
            }
            match &self.mode {
                Mode::Replay => return Err(Self::missing(&tape, key, ordinal, request)),
                Mode::Record(model) => (ordinal, model),
            }
        };
        let reply = model.chat(request, cx).await?;
        let entry = Entry {
            key,
            ordinal,
            model: self.name.clone(),
            request: request.clone(),
            reply: reply.clone(),
        };
        let fail = |why: String| {
            ChatError::Config(format!(
                "cannot write the cassette {}: {why}",
                self.path.display()
            ))
        };
        let mut line = serde_json::to_string(&entry).map_err(|e| fail(e.to_string()))?;
        line.push('\n');
        let mut tape = self.tape();
        if let Some(file) = &mut tape.file {
            file.write_all(line.as_bytes())
                .map_err(|e| fail(e.to_string()))?;
        }
        tape.entries.insert((key.to_string(), ordinal), entry);
        Ok(reply)
    }
}

/// The canonical request as text: fields in the struct's order, object keys sorted.
fn canonical(request: &ChatRequest) -> String {
    serde_json::to_string(request).expect("a request is plain data with string keys")
}

fn json(request: &ChatRequest) -> Value {
    serde_json::to_value(request).expect("a request is plain data with string keys")
}

fn key(request: &ChatRequest) -> Digest {
    Digest::of(canonical(request))
}

/// Length of the common prefix, in bytes.
fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}

/// The first place where two values differ, in words.
fn difference(place: &str, wanted: &Value, recorded: &Value) -> Option<String> {
    match (wanted, recorded) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys().filter(|k| !a.contains_key(*k)))
            .find_map(|k| {
                let place = format!("{place}.{k}");
                difference(
                    &place,
                    a.get(k).unwrap_or(&Value::Null),
                    b.get(k).unwrap_or(&Value::Null),
                )
            }),
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|i| {
            let at = |v: &[Value]| v.get(i).cloned().unwrap_or(Value::Null);
            difference(&format!("{place}[{i}]"), &at(a), &at(b))
        }),
        (Value::String(a), Value::String(b)) if a != b => {
            let mut at = common(a, b);
            while !a.is_char_boundary(at) || !b.is_char_boundary(at) {
                at -= 1;
            }
            let near = |s: &str| s[at..].chars().take(40).collect::<String>();
            Some(format!(
                "{place} differs at byte {at}: asked {:?}, recorded {:?}",
                near(a),
                near(b)
            ))
        }
        (a, b) if a != b => {
            let short = |v: &Value| v.to_string().chars().take(40).collect::<String>();
            Some(format!(
                "{place}: asked {}, recorded {}",
                short(a),
                short(b)
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Message, ResponseFormat, Role, Scripted};

    fn request(text: &str) -> ChatRequest {
        ChatRequest {
            messages: vec![Message::new(Role::User, text)],
            tools: Vec::new(),
            format: ResponseFormat::Text,
            n: 1,
            temperature: 0.0,
            top_p: None,
            seed: Some(1),
            max_tokens: 8,
            top_logprobs: None,
        }
    }

    #[tokio::test]
    async fn repeats_are_replayed_in_order_and_then_fail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape.jsonl");
        let cx = Cx::default();
        let model = Arc::new(Scripted::texts(["one", "two"]));
        let recorder = Cassette::open(&path, Mode::Record(model.clone())).unwrap();
        let first = recorder.chat(&request("hi"), &cx).await.unwrap();
        let second = recorder.chat(&request("hi"), &cx).await.unwrap();
        drop(recorder);

        // Recording again over the same file asks the model nothing.
        let again = Cassette::open(&path, Mode::Record(model.clone())).unwrap();
        assert_eq!(again.chat(&request("hi"), &cx).await.unwrap(), first);
        assert_eq!(model.requests().len(), 2);

        let player = Cassette::open(&path, Mode::Replay).unwrap();
        assert_eq!(player.name(), "scripted");
        assert_eq!(player.chat(&request("hi"), &cx).await.unwrap(), first);
        assert_eq!(player.chat(&request("hi"), &cx).await.unwrap(), second);
        let error = player
            .chat(&request("hi"), &cx)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("was recorded 2 times and is asked for the 3th time"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_missing_request_names_the_nearest_difference() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape.jsonl");
        let cx = Cx::default();
        let model = Arc::new(Scripted::texts(["one"]));
        let recorder = Cassette::open(&path, Mode::Record(model)).unwrap();
        recorder
            .chat(&request("buy a blue mug"), &cx)
            .await
            .unwrap();
        let player = Cassette::open(&path, Mode::Replay).unwrap();
        let error = player
            .chat(&request("buy a red mug"), &cx)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(
                "request.messages[0].content differs at byte 6: asked \"red mug\", recorded \"blue mug\""
            ),
            "{error}"
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape.jsonl");
        std::fs::write(&path, "\n{\"key\": 1}\n").unwrap();
        let error = Cassette::open(&path, Mode::Replay).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = Cassette::open(dir.path().join("none"), Mode::Replay).unwrap_err();
        assert!(matches!(error, ChatError::Config(_)));
    }
}
