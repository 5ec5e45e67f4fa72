//! A whole run as people and machines see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{self, Write};
use std::num::{NonZeroU8, NonZeroUsize};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use branchline::context::Cx;
use branchline::critic::{Critic, JudgeError, Judgement};
use branchline::env::sim::SimWorld;
use branchline::eval::{AnswerTest, Check};
use branchline::policy::{Policy, Proposal, ProposeError};
use branchline::record::{Recorder, Redactor, RunManifest, replay};
use branchline::report::{
    About, EdgeWords, Mode, Reporter, RunBudget, TreeStyle, Words, summary, summary_json, tree_with,
};
use branchline::runtime::{Job, Progress, RunLimits, RunReport, run};
use branchline::search::{Request, SearchConfig};
use branchline::types::{Action, Candidate, Cost, Seed, UnitF32, View};
use serde_json::{Value, json};

/// Follows every link, and stops where there is none.
struct Follow;

#[async_trait]
impl Policy for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    async fn propose(
        &self,
        view: &View<'_>,
        _: NonZeroU8,
        _: &Cx,
    ) -> Result<Proposal, ProposeError> {
        let links = view.observation.elements.iter();
        let mut actions: Vec<_> = links
            .map(|link| Action::new("goto", json!({ "to": link.name })))
            .collect();
        if actions.is_empty() {
            let answer = json!({ "answer": view.observation.title });
            actions.push(Action::new("stop", answer));
        }
        let candidates = actions.into_iter().map(|action| Candidate {
            action,
            prior: UnitF32::saturating(0.2),
            thought: None,
        });
        Ok(Proposal {
            candidates: candidates.collect(),
            ..Proposal::default()
        })
    }
}

/// Likes the answer `b`.
struct LikesB;

#[async_trait]
impl Critic for LikesB {
    fn name(&self) -> &'static str {
        "likes-b"
    }

    async fn judge(&self, view: &View<'_>, _: &Cx) -> Result<Judgement, JudgeError> {
        let value = if view.answer == Some("b") { 1.0 } else { 0.5 };
        Ok(Judgement {
            value: Some(UnitF32::saturating(value)),
            spread: None,
            samples: 1,
            unreadable: 0,
            rationale: String::new(),
            cost: Cost::default(),
            exchanges: Vec::new(),
        })
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn job() -> Job {
    let world = SimWorld::builder("start")
        .goal("say b")
        .page("start", "", &["a", "b"])
        .page("a", "", &[])
        .page("b", "", &[])
        .build();
    Job {
        dry_run: false,
        goal: None,
        search: SearchConfig::default(),
        policy: Arc::new(Follow),
        critic: Arc::new(LikesB),
        world: Arc::new(world),
        workers: NonZeroUsize::MIN,
        checks: vec![Check::Answer(AnswerTest::Exact("b".to_owned()))],
        limits: RunLimits::default(),
        seed: Seed(1),
        retries: 0,
    }
}

/// Runs with a reporter; gives what it printed, the report, and the words that were told.
async fn shown(mode: Mode, runs: &Path) -> (String, RunReport, Words) {
    let job = job();
    let manifest = RunManifest {
        task: "sim".to_owned(),
        search: job.search,
        seed: job.seed,
        ..RunManifest::default()
    };
    let recorder = Recorder::create(runs, &manifest, Redactor::default()).unwrap();
    let (sink, budget) = (Sink::default(), RunBudget::default());
    let mut reporter = Reporter::new(mode, Box::new(sink.clone()), Some((24, 80)), true, budget);
    let mut words = Words::default();
    let mut watch = |news: &Progress, search: &_| {
        if let Progress::Landed {
            request: Request::Step { edge },
            target,
            url,
            note,
            ..
        } = news.clone()
        {
            words.insert(edge, EdgeWords { target, url, note });
        }
        reporter.update(news, search);
    };
    let report = run(job, recorder, &mut watch, &Cx::default())
        .await
        .unwrap();
    reporter.finish();
    (sink.text(), report, words)
}

#[tokio::test]
async fn a_run_reads_well_in_lines_and_from_its_record() {
    let runs = tempfile::tempdir().unwrap();
    let (text, report, words) = shown(Mode::Plain, runs.path()).await;
    let text = text.replace(&*report.dir.to_string_lossy(), "DIR");
    insta::assert_snapshot!(text, @r#"
    goal: say b
    record: DIR
    propose n0  2 new actions
    step 1/20  n0  goto "a"  -> n1 sim://site/a
    value n1  goto "a"  0.50
    propose n1  1 new action
    step 2/20  n0  goto "b"  -> n2 sim://site/b
    value n2  goto "b"  0.50
    propose n2  1 new action
    step 3/20  n1  stop "a"  -> n3 sim://site/a (end)
    value n3  stop "a"  0.50
    step 4/20  n2  stop "b"  -> n4 sim://site/b (end)
    value n4  stop "b"  1.00
    search ended: a state reached the threshold; best n4
    commit 1/2  goto "b"
    commit 2/2  stop "b"
    verdict: solved
    "#);

    assert_eq!(
        Words::read(&report.dir).unwrap(),
        std::slice::from_ref(&words)
    );
    let search = replay(&report.dir).unwrap().search.unwrap();
    let style = TreeStyle {
        width: 80,
        max_lines: 20,
        colour: false,
    };
    insta::assert_snapshot!(tree_with(&search, &words, style), @r#"
    n0 start
    ├─ n1 goto "a"  ▰▰▰▱▱ 0.50  → sim://site/a
    │  └─ ✓ n3 stop "a"  ▰▰▰▱▱ 0.50  → sim://site/a
    └─★ n2 goto "b"  ▰▰▰▱▱ 0.50  → sim://site/b
       └─★ ✓ n4 stop "b"  ▰▰▰▰▰ 1.00  → sim://site/b
    "#);

    let about = About {
        task: Some("sim"),
        strategy: search.strategy_name(),
        budget: search.config().budget,
        wall: None,
        width: None,
        colour: false,
    };
    let end = summary(&report, &about);
    assert!(
        end.starts_with("✓ solved  sim\n  goal        say b\n"),
        "{end}"
    );
    let command = format!("branchline replay {}\n", report.dir.display());
    assert!(end.ends_with(&command), "{end}");
    let machine = summary_json(&report);
    assert_eq!(machine["outcome"], "solved");
    assert_eq!(machine["path"][1]["action"]["name"], "stop");
}

#[tokio::test]
async fn a_terminal_is_left_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    let (text, _, _) = shown(Mode::Live, runs.path()).await;
    assert!(text.starts_with("\x1b[?25l"));
    assert!(text.ends_with("\x1b[?25h"));
    assert!(text.contains("verdict: solved"));
    assert_eq!(text.matches("\x1b[?25l").count(), 1);
}

#[tokio::test]
async fn machines_can_follow() {
    let runs = tempfile::tempdir().unwrap();
    let (text, report, _) = shown(Mode::Json, runs.path()).await;
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |kind: &str| events.iter().filter(|e| e["event"] == kind).count();
    assert_eq!(count("started"), count("landed"));
    let steps = events
        .iter()
        .filter(|e| e["event"] == "landed" && e["request"] == "step");
    assert_eq!(steps.count(), report.spent.steps as usize);
    assert_eq!(events.last().unwrap()["outcome"], "solved");
}
