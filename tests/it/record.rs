//! The log and its blobs, on good and on failing disks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use branchline::record::{
    Detail, Event, EventKind, ReadError, Reader, RecordError, Recorder, Redactor, ReplayError,
    RunManifest, StepDetail, replay,
};
use branchline::search::{
    Compared, Outcome, Proposed, Request, Scored, Start, Stepped, StopReason,
};
use branchline::types::{
    Action, Candidate, Cost, Digest, EdgeId, Effect, EffectKind, MicroUsd, Miss, MissReason,
    NodeId, Preference, Rejection, Restored, Rung, Seed, Snapshot, Step, Ticket, UnitF32,
};
use proptest::prelude::*;
use serde_json::json;

/// A disk that takes `room` bytes and no more.
pub(crate) struct FullDisk {
    pub(crate) file: fs::File,
    pub(crate) room: usize,
}

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "no space left on device",
            ));
        }
        let some = &bytes[..bytes.len().min(self.room)];
        self.room -= some.len();
        self.file.write(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn manifest() -> RunManifest {
    RunManifest {
        task: "demo/one".to_owned(),
        policy: "p".to_owned(),
        critic: "c".to_owned(),
        workers: 2,
        seed: Seed(u64::MAX),
        ..RunManifest::default()
    }
}

fn recorder(runs: &Path) -> Recorder {
    Recorder::create(runs, &manifest(), Redactor::default()).unwrap()
}

fn read(dir: &Path) -> Vec<EventKind> {
    Reader::open(dir)
        .unwrap()
        .map(|event| event.unwrap().kind)
        .collect()
}

fn warning(text: &str) -> EventKind {
    EventKind::Warning {
        text: text.to_owned(),
    }
}

/// One event of every kind, with everything in it that is hard to write.
fn every_kind() -> Vec<EventKind> {
    let digest = Digest::of("state");
    let action = Action::new(
        "fill",
        json!({ "ref": "3", "text": "a \"quoted\"\nline ✓" }),
    );
    let snapshot = Snapshot {
        digest,
        data: json!({ "deep": [1, { "x": null }] }),
    };
    let effect = Effect {
        kind: EffectKind::Write,
        method: "POST".to_owned(),
        url: "http://shop.demo/cart".to_owned(),
        headers: Vec::new(),
        body: Some("q=1".to_owned()),
        held: true,
    };
    let cost = Cost {
        model_calls: 1,
        money: MicroUsd(12),
        wall_ms: 5,
        ..Cost::default()
    };
    let done = Step::Done {
        effects: vec![effect.clone()],
        notices: Vec::new(),
        answer: Some("yes".to_owned()),
    };
    let rejection = Rejection {
        reason: "no such element".to_owned(),
        nearest: vec!["button".to_owned()],
    };
    let told = |outcome, detail| EventKind::Told {
        ticket: Ticket(u64::MAX),
        outcome,
        detail,
    };
    vec![
        EventKind::Root {
            round: 1,
            budget: Some(branchline::search::Budget::default()),
            start: Start {
                digest,
                terminal: false,
            },
            goal: "buy".to_owned(),
            observation: digest,
            screenshot: Some(digest),
            snapshot: snapshot.clone(),
            actions: digest,
        },
        EventKind::Imported {
            format: "toolbench".to_owned(),
            source: digest,
        },
        EventKind::Asked {
            ticket: Ticket(0),
            request: Request::Propose {
                node: NodeId(0),
                width: 3.try_into().unwrap(),
            },
        },
        told(
            Outcome::Proposed(Proposed {
                candidates: vec![Candidate {
                    action: action.clone(),
                    prior: UnitF32::saturating(0.1),
                    thought: None,
                }],
                cost,
            }),
            Detail::Propose {
                policy: "p".to_owned(),
                discarded: vec!["prose".to_owned()],
                exchanges: vec![digest],
            },
        ),
        told(
            Outcome::Stepped(Stepped::State {
                digest,
                terminal: true,
                cost,
            }),
            Detail::Step(Box::new(StepDetail {
                step: Some(done.clone()),
                target: Some("button".to_owned()),
                url: None,
                restored: Some(Restored {
                    rung: Rung::Replay,
                    misses: vec![Miss {
                        rung: Rung::Document,
                        reason: MissReason::NotRecorded,
                        detail: "GET /x".to_owned(),
                        ms: 3,
                    }],
                    learned: None,
                    actions: 2,
                    ms: 3,
                }),
                observation: Some(digest),
                screenshot: None,
                snapshot: Some(snapshot),
                missed: Vec::new(),
                faults: vec!["died".to_owned()],
                actions: Some(digest),
                source: Some(digest),
            })),
        ),
        told(
            Outcome::Stepped(Stepped::Rejected { rejection, cost }),
            Detail::Dropped,
        ),
        told(
            Outcome::Stepped(Stepped::Held {
                digest,
                effects: vec![effect],
                cost,
            }),
            Detail::Dropped,
        ),
        told(
            Outcome::Stepped(Stepped::Lost {
                reason: "no way leads back".to_owned(),
                cost,
            }),
            Detail::Step(Box::new(StepDetail {
                missed: vec![Miss {
                    rung: Rung::Replay,
                    reason: MissReason::OtherState,
                    detail: String::new(),
                    ms: 900,
                }],
                ..StepDetail::default()
            })),
        ),
        told(
            Outcome::Scored(Scored { value: None, cost }),
            Detail::Judge {
                critic: "c".to_owned(),
                spread: Some(0.25),
                samples: 3,
                unreadable: 1,
                rationale: "so".to_owned(),
                exchanges: Vec::new(),
            },
        ),
        told(
            Outcome::Compared(Compared {
                preference: Some(Preference::Tie),
                cost,
            }),
            Detail::Compare {
                critic: "c".to_owned(),
                rationale: "equal".to_owned(),
                exchanges: vec![digest],
            },
        ),
        told(
            Outcome::Failed {
                reason: "gone".to_owned(),
                cost,
            },
            Detail::Dropped,
        ),
        EventKind::Stopping {
            reason: StopReason::Time,
            note: String::new(),
        },
        EventKind::SearchEnded {
            reason: StopReason::Time,
            best: Some(NodeId(4)),
            tree: digest,
            spent: branchline::search::Spent::default(),
        },
        EventKind::CommitStarted {
            path: vec![EdgeId(1)],
        },
        EventKind::CommitStep {
            index: 0,
            action: action.clone(),
            step: done,
            digest,
            expected: Some(digest),
            observation: digest,
            screenshot: None,
        },
        EventKind::CommitDiverged {
            index: None,
            action: Some(action),
            expected: None,
            got: None,
            reason: "another".to_owned(),
        },
        EventKind::Verdict {
            verdict: json!({ "outcome": "solved" }),
            answer: None,
        },
        warning("careful"),
        EventKind::RunEnded {
            outcome: "solved".to_owned(),
            reason: None,
            cost,
        },
    ]
}

#[test]
fn every_event_reads_back_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    let mut recorder = recorder(runs.path());
    let events = every_kind();
    for (i, event) in events.iter().enumerate() {
        assert_eq!(recorder.append(event).unwrap(), i as u64 + 1);
    }
    let mut expected = vec![EventKind::RunStarted {
        id: recorder.id().to_owned(),
        manifest: manifest(),
    }];
    expected.extend(events);
    let read: Vec<Event> = Reader::open(recorder.dir())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let seqs: Vec<u64> = read.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (0..expected.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<EventKind> = read.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, expected);
    // Every kind was there, under a name that a reader knows.
    let named: std::collections::BTreeSet<String> = kinds
        .iter()
        .map(|kind| {
            serde_json::to_value(kind).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        named,
        EventKind::KINDS
            .iter()
            .map(|&kind| kind.to_owned())
            .collect()
    );
}

proptest! {
    #[test]
    fn numbers_and_texts_survive_the_log(
        value in proptest::option::of(0.0f32..=1.0),
        text in any::<String>(),
        money in any::<u64>(),
        redact in any::<bool>(),
    ) {
        let runs = tempfile::tempdir().unwrap();
        let redactor = Redactor::new(redact.then_some("a secret that does not occur"));
        let mut recorder = Recorder::create(runs.path(), &manifest(), redactor).unwrap();
        let cost = Cost { money: MicroUsd(money), ..Cost::default() };
        let event = EventKind::Told {
            ticket: Ticket(money),
            outcome: Outcome::Scored(Scored { value: value.map(UnitF32::saturating), cost }),
            detail: Detail::Judge {
                critic: text.clone(),
                spread: value,
                samples: 0,
                unreadable: 0,
                rationale: text,
                exchanges: Vec::new(),
            },
        };
        recorder.append(&event).unwrap();
        prop_assert_eq!(read(recorder.dir()).pop(), Some(event));
    }
}

#[test]
fn a_torn_last_line_is_reported_and_no_event() {
    let runs = tempfile::tempdir().unwrap();
    let mut recorder = recorder(runs.path());
    recorder.append(&warning("one")).unwrap();
    recorder.append(&warning("two")).unwrap();
    let log = recorder.dir().join("events.jsonl");
    let whole = fs::read(&log).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|&b| b == b'\n')
        .unwrap()
        + 1;
    for cut in last..whole.len() {
        fs::write(&log, &whole[..cut]).unwrap();
        let mut reader = Reader::open(recorder.dir()).unwrap();
        let events: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(events.len(), 2, "cut at {cut}");
        let torn = (cut > last).then(|| format!("line 3 was cut off after {} bytes", cut - last));
        assert_eq!(reader.torn().map(str::to_owned), torn);
    }
}

#[test]
fn a_bad_line_in_the_middle_is_an_error_with_its_number() {
    let runs = tempfile::tempdir().unwrap();
    let mut recorder = recorder(runs.path());
    for text in ["one", "two", "three"] {
        recorder.append(&warning(text)).unwrap();
    }
    let log = recorder.dir().join("events.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let error = |third: &str| {
        fs::write(
            &log,
            format!("{}\n{}\n{third}\n{}\n", lines[0], lines[1], lines[3]),
        )
        .unwrap();
        let mut reader = Reader::open(recorder.dir()).unwrap();
        let error = reader.find_map(Result::err).unwrap();
        assert!(reader.next().is_none(), "nothing follows an error");
        error
    };
    assert!(matches!(
        error("{\"v\":1,"),
        ReadError::Line { line: 3, .. }
    ));
    assert!(
        matches!(error(lines[1]), ReadError::Line { line: 3, .. }),
        "a gap"
    );
    assert!(matches!(
        error(r#"{"v":2,"seq":2,"ms":0,"kind":"warning"}"#),
        ReadError::Line { line: 3, .. }
    ));
    assert!(matches!(
        error(r#"{"v":3,"seq":2,"ms":0,"kind":"warning","text":""}"#),
        ReadError::Version {
            line: 3,
            found: 3,
            ..
        }
    ));
    let unknown = error(r#"{"v":2,"seq":2,"ms":0,"kind":"dance"}"#);
    assert!(
        unknown
            .to_string()
            .ends_with("line 3: unknown kind of event `dance` (version 2 of the log's format)")
    );
    // Unknown fields are no error.
    let more = lines[2].replace("\"text\"", "\"later\":1,\"text\"");
    fs::write(
        &log,
        format!("{}\n{}\n{more}\n{}\n", lines[0], lines[1], lines[3]),
    )
    .unwrap();
    assert_eq!(read(recorder.dir()).len(), 4);
}

#[test]
fn a_full_disk_names_the_log_and_what_is_safe() {
    let runs = tempfile::tempdir().unwrap();
    let kept = Arc::new(Mutex::new(None));
    let path = Arc::clone(&kept);
    let mut recorder =
        Recorder::create_with(runs.path(), &manifest(), Redactor::default(), move |log| {
            *path.lock().unwrap() = Some(log.to_owned());
            Ok(Box::new(FullDisk {
                file: fs::File::create(log)?,
                room: 700,
            }))
        })
        .unwrap();
    let log = kept.lock().unwrap().clone().unwrap();
    let text = "x".repeat(100);
    let error = loop {
        if let Err(error) = recorder.append(&warning(&text)) {
            break error;
        }
    };
    let safe = recorder.events();
    assert!(safe >= 1);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write {}: no space left on device; its first {safe} events are safe and can \
             be replayed",
            log.display()
        )
    );
    // Nothing is written after the gap, blobs included.
    assert!(matches!(
        recorder.append(&warning("")),
        Err(RecordError::Broken { .. })
    ));
    assert!(matches!(
        recorder.blob(b"x"),
        Err(RecordError::Broken { .. })
    ));
    let mut reader = Reader::open(recorder.dir()).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count() as u64, safe);
    assert!(reader.torn().is_some());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let runs = tempfile::tempdir().unwrap();
    let file = runs.path().join("a file");
    fs::write(&file, "").unwrap();
    let error = Recorder::create(&file, &manifest(), Redactor::default()).unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");

    let mut recorder = recorder(runs.path());
    fs::remove_dir_all(recorder.dir().join("blobs")).unwrap();
    fs::write(recorder.dir().join("blobs"), "in the way").unwrap();
    let error = recorder.blob(b"content").unwrap_err();
    assert!(
        matches!(error, RecordError::Blob { safe: 1, .. }),
        "{error}"
    );
}

#[test]
fn blobs_are_kept_once_and_checked() {
    let runs = tempfile::tempdir().unwrap();
    let mut recorder = recorder(runs.path());
    let digest = recorder.blob(b"content").unwrap();
    assert_eq!(recorder.blob(b"content").unwrap(), digest);
    let reader = Reader::open(recorder.dir()).unwrap();
    assert_eq!(reader.blob(digest).unwrap(), b"content");

    let name = digest.to_string();
    let path = recorder.dir().join("blobs").join(&name[..2]).join(&name);
    fs::write(&path, "other").unwrap();
    let damaged = reader.blob(digest).unwrap_err().to_string();
    assert!(
        damaged.starts_with(&format!("blob {name} is damaged")),
        "{damaged}"
    );
    fs::remove_file(&path).unwrap();
    let missing = reader.blob(digest).unwrap_err().to_string();
    assert!(
        missing.starts_with(&format!("blob {name} is missing")),
        "{missing}"
    );
}

#[test]
fn no_secret_reaches_the_disk() {
    let runs = tempfile::tempdir().unwrap();
    let secret = "sk-live-0123456789";
    let manifest = RunManifest {
        config: json!({ "key": secret }).as_object().unwrap().clone(),
        ..manifest()
    };
    let mut recorder = Recorder::create(runs.path(), &manifest, Redactor::new([secret])).unwrap();
    recorder
        .append(&warning(&format!("the key {secret} was refused")))
        .unwrap();
    let blob = recorder
        .json(&json!({ "header": format!("Bearer {secret}") }))
        .unwrap();
    let reader = Reader::open(recorder.dir()).unwrap();
    assert_eq!(
        reader.json::<serde_json::Value>(blob).unwrap(),
        json!({ "header": "Bearer [redacted]" })
    );
    assert_eq!(
        read(recorder.dir()).pop(),
        Some(warning("the key [redacted] was refused"))
    );
    assert_eq!(files_with(recorder.dir(), secret), Vec::<String>::new());
}

/// The files under `dir` that contain `text`.
pub(crate) fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn logs_that_are_none_are_refused() {
    let runs = tempfile::tempdir().unwrap();
    assert!(matches!(
        replay(&runs.path().join("nothing")),
        Err(ReplayError::Read(ReadError::Io { .. }))
    ));
    let mut recorder = recorder(runs.path());
    let rebuilt = replay(recorder.dir()).unwrap();
    assert!(rebuilt.search.is_none() && !rebuilt.complete);
    recorder
        .append(&EventKind::Stopping {
            reason: StopReason::Time,
            note: String::new(),
        })
        .unwrap();
    assert!(matches!(
        replay(recorder.dir()),
        Err(ReplayError::Order { seq: 1, .. })
    ));
    fs::write(recorder.dir().join("events.jsonl"), "").unwrap();
    assert!(matches!(
        replay(recorder.dir()),
        Err(ReplayError::Order { seq: 0, .. })
    ));
}
