//! The end of a search: its best path is committed and judged, and the run reports.

use tokio::time::Instant;

use crate::eval::Evidence;
use crate::record::{EventKind, RecordError};
use crate::search::{EdgeStatus, StopReason};
use crate::types::{EdgeId, Effect, NodeId};

use super::commit::{self, Committed};
use super::job::{Failure, Progress, RunError, RunReport};
use super::order::elapsed_ms;
use super::view::rendered_target;

use super::driver::Driver;

impl Driver<'_> {
    /// Logs the end of this round's search and commits its best path.
    pub(super) async fn commit(&mut self, reason: StopReason) -> Result<Committed, RecordError> {
        let best = self.search.best();
        let spent = self.search.spent();
        let tree_digest = self.search.tree().digest();
        self.parts.recorder.append(&EventKind::SearchEnded {
            reason,
            best,
            tree: tree_digest,
            spent,
        })?;
        self.say(&Progress::SearchEnded { reason, best });
        // The commit has the world to itself.
        for text in self.parts.pool.close(&self.parts.job.limits.calls).await {
            self.warn(text)?;
        }

        // A search that ran out of things to try because a part broke was not exhausted by the task:
        // it says nothing about it.
        let streak = self.provider_streak.max(self.environment_streak);
        if reason == StopReason::Exhausted && streak > 0 && self.failure.is_none() {
            self.failure = self
                .last_fault
                .take()
                .map(|(part, reason)| Failure { part, reason });
        }
        let why_not = match (&self.failure, reason) {
            (Some(failure), _) => Some(failure.reason.clone()),
            (None, StopReason::Interrupted) => Some("the run was interrupted".to_owned()),
            (None, StopReason::Failed) => {
                Some("the strategy asked for something impossible".to_owned())
            }
            (None, _) if best.is_none() && self.round == 0 && self.parts.job.checks.is_empty() => {
                Some("there is nothing to commit".to_owned())
            }
            (None, _) if self.parts.job.dry_run => {
                Some("a dry run: nothing was committed".to_owned())
            }
            (None, _) => None,
        };
        if let Some(reason) = why_not {
            return Ok(Committed::not(reason));
        }
        let edges = best.map_or_else(Vec::new, |node| self.search.tree().path(node));
        let plan = commit::Plan {
            job: self.parts.job,
            env_seed: self.parts.env_seed,
            start: self.state(NodeId::ROOT).observation.digest,
            steps: edges.into_iter().map(|edge| self.planned(edge)).collect(),
        };
        // Exclusive, so that the closure can be sent: a strategy need not be shareable.
        let search = &mut self.search;
        let progress = &mut *self.parts.progress;
        let mut say = move |news: &Progress| progress(news, search);
        let real = &mut self.real;
        commit::commit(&plan, real, self.parts.recorder, &mut say, self.parts.cx).await
    }

    /// An edge of the best path, to be carried out for good.
    fn planned(&self, edge: EdgeId) -> commit::PlannedStep {
        let child = self.search.tree().edge(edge).child();
        let state = self.state(child.expect("the edges of a path were executed"));
        commit::PlannedStep {
            edge,
            shown: self.search.tree().edge(edge).action(),
            action: self.real_action(edge),
            expected: (!state.held).then_some(state.observation.digest),
            led_to: state.snapshot.clone(),
            target: self.target(edge),
            writes: state.effects.to_vec(),
        }
    }

    /// Judges what was committed, and reports.
    pub(super) async fn finish(
        &mut self,
        reason: StopReason,
        mut committed: Committed,
        begun: Instant,
    ) -> Result<RunReport, RunError> {
        self.note_site()?;
        let best = self.search.best();
        let spent = self.spent();
        let tree_digest = self.search.tree().digest();
        let mut archive = None;
        if let Some(real) = &mut self.real {
            // First of all: what the evaluators ask is no part of the commit.
            if let Some(log) = real.archive() {
                let har = har::Har {
                    log: har::Spec::V1_2(log),
                };
                archive = Some(self.parts.recorder.file("commit.har", &har)?);
            }
            if committed.uncommitted.is_none() {
                let evidence = Evidence {
                    answer: self.answer.as_deref(),
                    actions: &self.committed,
                };
                let (job, cx) = (self.parts.job, self.parts.cx);
                commit::judge(job, evidence, &mut **real, &mut committed, cx).await;
            }
        }
        let verdict = committed.verdict(&self.parts.job.checks);
        self.parts.recorder.append(&EventKind::Verdict {
            verdict: serde_json::to_value(&verdict).map_err(|e| RecordError::Serialise {
                what: "the verdict",
                reason: e.to_string(),
            })?,
            answer: self.answer.clone(),
        })?;
        self.say(&Progress::Verdict(verdict.clone()));

        self.figures.loops += self.count_loops();
        let mut cost = spent.cost;
        cost.env_actions += self.figures.commit_actions;
        let wall_ms = elapsed_ms(begun);
        cost.wall_ms = wall_ms;
        // Reports are shown and copied: they hold no secret either.
        let redactor = self.parts.recorder.redactor();
        let path = self.state(best.unwrap_or(NodeId::ROOT)).path.to_vec();
        let path = redactor.clean(path);
        let answer = redactor.clean(self.answer.take());
        let would_send = match best.filter(|_| self.parts.job.dry_run) {
            Some(best) => redactor.clean(self.writes_to(best)),
            None => Vec::new(),
        };
        Ok(RunReport {
            dir: self.parts.recorder.dir().to_owned(),
            goal: self.goal.to_string(),
            reason,
            best,
            verdict,
            interrupted: committed.interrupted || reason == StopReason::Interrupted,
            failure: self.failure.take().or(committed.failure),
            uncommitted: committed.uncommitted,
            path,
            rounds: self.round + 1,
            would_send,
            archive,
            answer,
            spent,
            cost,
            steps: std::mem::take(&mut self.figures),
            notes: std::mem::take(&mut self.notes),
            wall_ms,
            tree_digest,
        })
    }

    /// Executed edges that led to a known state.
    pub(super) fn count_loops(&self) -> u32 {
        let tree = self.search.tree();
        let edges = tree.nodes().flat_map(|node| tree.edges(node));
        let loops = edges.filter(|edge| matches!(tree.edge(*edge).status(), EdgeStatus::Loop(_)));
        u32::try_from(loops.count()).unwrap_or(u32::MAX)
    }

    /// What an edge acts on, as rendered in its parent's state.
    pub(super) fn target(&self, edge: EdgeId) -> Option<String> {
        let action = self.real_action(edge);
        let parent = self.search.tree().edge(edge).parent();
        rendered_target(&self.state(parent).observation, action.target())
    }

    /// The writes on the way to a state, sent and waiting ones.
    pub(super) fn writes_to(&self, node: NodeId) -> Vec<Effect> {
        let tree = self.search.tree();
        let path = tree.path(node).into_iter();
        path.filter_map(|edge| tree.edge(edge).child())
            .flat_map(|child| self.state(child).effects.to_vec())
            .collect()
    }
}
