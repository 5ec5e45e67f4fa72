//! One instance: its sessions, its conversation, and the ways back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::act::Purpose;
use super::plan::Offer;
use super::render;
use super::server::Server;
use super::state::{Did, Proof, State, masked};
use super::world::Shared;
use crate::context::{Cx, Interrupted};
use crate::env::tools::{Access, Session, SourceError};
use crate::env::{
    ActError, CloseError, Environment, ObserveError, OpenError, QueryError, RestoreError,
    SiteInstance, SnapshotError,
};
use crate::located::nearest;
use crate::types::{
    Action, ActionSpec, Digest, Effect, Observation, Query, Restored, Rung, Snapshot, Step,
    TOOLS_SCHEME, Writes,
};

/// A conversation with the world's tools.
pub(super) struct ToolEnvironment {
    pub(super) world: Arc<Shared>,
    /// This lane's own server.
    site: Option<Box<dyn SiteInstance>>,
    /// Opened when they are first needed.
    pub(super) sessions: BTreeMap<String, Arc<dyn Session>>,
    pub(super) state: State,
    /// What the server of this lane, or of all, was told.
    pub(super) server: Arc<tokio::sync::Mutex<Server>>,
    /// The number of the state in the world, if it has one.
    at: Option<u64>,
    observed: bool,
    /// An action began and did not end; whether it was a write.
    pub(super) cut_off: Option<bool>,
    pub(super) lost: Option<String>,
    /// What it writes stays.
    commits: bool,
}

/// Errors of [`ToolEnvironment::session`] in terms of a verb.
macro_rules! source_errors {
    ($($error:ident),*) => {$(
        impl From<SourceError> for $error {
            fn from(error: SourceError) -> Self {
                match error {
                    SourceError::Interrupted(why) => Self::Interrupted(why),
                    SourceError::Unusable { .. } => Self::Other(error.to_string()),
                }
            }
        }
    )*};
}

source_errors!(ActError, RestoreError, SnapshotError);

impl ToolEnvironment {
    pub(super) async fn open(
        world: &Arc<Shared>,
        commits: bool,
        cx: &Cx,
    ) -> Result<Self, OpenError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        if world.menu.all.is_empty() {
            return Err(OpenError::Missing {
                what: format!("`{}` has no tool that can be called", world.config.name),
                hint: "see `branchline tools check`".to_owned(),
            });
        }
        let site = match &world.config.site {
            None => None,
            Some(site) => Some(
                site.lease(cx)
                    .await
                    .map_err(|error| OpenError::Other(error.to_string()))?,
            ),
        };
        let held = world.config.writes == Writes::Hold && world.config.site.is_none();
        let shared = world.undoes() || held || world.config.writes == Writes::Allow;
        let server = if shared {
            Arc::clone(&world.server)
        } else {
            Arc::default()
        };
        let mut env = Self {
            world: Arc::clone(world),
            site,
            sessions: BTreeMap::new(),
            state: State::default(),
            server,
            at: None,
            observed: false,
            cut_off: None,
            lost: None,
            commits: false,
        };
        if world.undoes() {
            // What another instance left behind.
            let server = Arc::clone(&env.server);
            let mut server = server.lock().await;
            env.undo_rest(&mut server, cx)
                .await
                .map_err(|error| OpenError::Other(error.to_string()))?;
        }
        // What was taken back for it is no part of a commit.
        env.commits = commits;
        if commits {
            env.sessions.values().for_each(|s| s.keep_exchanges());
        }
        if let Some(site) = &env.site
            && world.config.writes == Writes::Checkpoint
        {
            env.state.checkpoint = site
                .save(cx)
                .await
                .map_err(|error| OpenError::Other(error.to_string()))?;
        }
        Ok(env)
    }

    /// The session with a source, opened now if there is none.
    pub(super) async fn session(
        &mut self,
        source: &str,
        cx: &Cx,
    ) -> Result<Arc<dyn Session>, SourceError> {
        if let Some(session) = self.sessions.get(source) {
            return Ok(Arc::clone(session));
        }
        let from = self
            .world
            .source(source)
            .ok_or_else(|| SourceError::Unusable {
                source_name: source.to_owned(),
                reason: "is not part of this world".to_owned(),
            })?;
        let opened = match (&self.world.config.site, &self.site) {
            (Some(site), Some(lease)) => {
                from.source
                    .open_at(site.logical_origin(), lease.origin(), cx)
                    .await?
            }
            _ => from.source.open(cx).await?,
        };
        let session: Arc<dyn Session> = opened.into();
        if let Some(state) = self.state.sessions.get(source) {
            session.load(state);
        }
        if self.commits {
            session.keep_exchanges();
        }
        self.sessions
            .insert(source.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// What can be done now.
    pub(super) fn offer(&self) -> &Offer {
        let extended = self.state.offer.as_deref();
        extended.unwrap_or(&self.world.menu.start)
    }

    /// The real origin of this lane's server.
    pub(super) fn origin(&self) -> Option<String> {
        self.site.as_ref().map(|site| site.origin().to_owned())
    }

    /// The state is another than the one that was observed.
    pub(super) fn moved(&mut self) {
        self.at = None;
        self.observed = false;
    }

    /// Calls are about to be sent. If the future is dropped before [`ToolEnvironment::end`], the
    /// mark stays.
    pub(super) fn begin(&mut self, write: bool) {
        self.cut_off = Some(write);
    }

    /// All calls are answered: what the sessions hold now is part of the state.
    pub(super) fn end(&mut self) {
        self.cut_off = None;
        self.save_sessions();
    }

    fn save_sessions(&mut self) {
        for (name, session) in &self.sessions {
            match session.save() {
                Value::Null => {}
                state => {
                    self.state.sessions.insert(name.clone(), state);
                }
            }
        }
    }

    fn digest(&self) -> Digest {
        self.state
            .digest(&self.world.config.name, &self.world.volatile)
    }

    /// Where the conversation is: the last thing that was done.
    fn url(&self) -> String {
        let name = &self.world.config.name;
        let last = self.state.turns.last().map(|turn| match &turn.did {
            Did::Called(calls) => calls
                .iter()
                .map(|call| call.tool.name.as_str())
                .collect::<Vec<_>>()
                .join("+"),
            Did::Viewed { call, .. } => format!("more/{call}"),
            Did::Found(_) => "search_tools".to_owned(),
        });
        let last: String = last.unwrap_or_default().chars().take(120).collect();
        format!("{TOOLS_SCHEME}{name}/{last}")
    }

    fn fit(&self, cx: &Cx) -> Result<(), Unfit> {
        if cx.is_cancelled() {
            return Err(Unfit::Interrupted(Interrupted::Cancelled));
        }
        if let Some(how) = &self.lost {
            return Err(Unfit::Lost(how.clone()));
        }
        if self.cut_off.is_some() {
            return Err(Unfit::Other(
                "an action was cut off: restore a snapshot first".to_owned(),
            ));
        }
        Ok(())
    }

    // ------------------------------------------------------------ proof

    /// What the registry's `verify` reads give now; `None` where it names none.
    async fn prove(&mut self, cx: &Cx) -> Result<Option<Proof>, String> {
        let world = Arc::clone(&self.world);
        let mut lines = Vec::new();
        for source in &world.config.sources {
            let name = source.source.name().to_owned();
            for read in &source.rules.verify {
                let reply = self
                    .direct(&name, &read.call, &read.arguments, cx)
                    .await
                    .map_err(|reason| {
                        format!("`{}` could not be read back: {reason}", read.call)
                    })?;
                let content = masked(&reply, world.volatile.get(&name));
                lines.push(format!("{name} {} {content}", read.call));
            }
        }
        Ok((!lines.is_empty()).then_some(Proof(lines)))
    }

    /// Compares what the server shows with what it showed in the state. Only after it was put back.
    async fn verify(&mut self, to: &State, want: Digest, cx: &Cx) -> Result<(), RestoreError> {
        let Some(then) = &to.proof else {
            return Ok(());
        };
        let now = self
            .prove(cx)
            .await
            .map_err(RestoreError::Other)?
            .unwrap_or(Proof(Vec::new()));
        if now == **then {
            return Ok(());
        }
        let differs = now.0.iter().zip(&then.0).find(|(now, then)| now != then);
        let detail = differs.map_or_else(
            || "other reads".to_owned(),
            |(now, _)| {
                let call: Vec<&str> = now.splitn(3, ' ').take(2).collect();
                format!(
                    "`{}` of `{}` reads differently than before",
                    call[1], call[0]
                )
            },
        );
        Err(RestoreError::Diverged {
            want,
            got: Digest::of(now.0.join("\n")),
            detail,
        })
    }

    // ------------------------------------------------------------ questions

    /// What a read gives now, for an evaluator: never from the record, and never a write.
    async fn ask_tool(
        &mut self,
        name: &str,
        arguments: &Map<String, Value>,
        cx: &Cx,
    ) -> Result<Value, QueryError> {
        let Some(tool) = self.world.menu.all.get(name).cloned() else {
            let near = nearest(name, self.world.menu.all.keys().cloned());
            let near = near
                .first()
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(QueryError::Other(format!(
                "there is no tool `{name}`{near}"
            )));
        };
        if tool.access != Access::Read {
            return Err(QueryError::Other(format!(
                "`{name}` is not known to only read, and a check may not write"
            )));
        }
        let reply = self
            .direct(&tool.source, &tool.name, arguments, cx)
            .await
            .map_err(|reason| QueryError::Other(format!("`{name}` was not answered: {reason}")))?;
        Ok(json!({ "error": reply.error, "status": reply.status, "content": reply.content }))
    }

    // ------------------------------------------------------------ replay

    /// Repeats a path in fresh sessions. The state it leads to must have the digest `want`.
    async fn replay(
        &mut self,
        path: &[Action],
        then: Option<&State>,
        want: Digest,
        cx: &Cx,
    ) -> Result<u32, RestoreError> {
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.close().await;
        }
        self.state = State::default();
        self.cut_off = None;
        {
            // Where writes are held there are none to forget, but for those that stay.
            let mut server = self.server.lock().await;
            if server.kept == 0 {
                *server = Server::default();
            }
        }
        for action in path {
            let step =
                self.perform(action, Purpose::Replay, cx)
                    .await
                    .map_err(|error| match error {
                        ActError::Interrupted(why) => RestoreError::Interrupted(why),
                        ActError::Lost(how) => RestoreError::Lost(how),
                        ActError::Other(reason) => {
                            RestoreError::Other(format!("{action}: {reason}"))
                        }
                    })?;
            let refused = match step {
                Step::Done { .. } => continue,
                Step::Rejected(rejection) => rejection.to_string(),
                Step::Held { .. } => "it would write, and writes are held".to_owned(),
            };
            return Err(RestoreError::Unrestorable(format!(
                "the path cannot be repeated: {action}: {refused}"
            )));
        }
        let got = self.digest();
        if got != want {
            let detail = then.map_or_else(
                || "the path led elsewhere".to_owned(),
                |then| then.difference(&self.state, &self.world.volatile),
            );
            return Err(RestoreError::Diverged { want, got, detail });
        }
        Ok(u32::try_from(path.len()).unwrap_or(u32::MAX))
    }

    async fn back(
        &mut self,
        to: &Arc<State>,
        number: u64,
        want: Digest,
        cx: &Cx,
    ) -> Result<(Rung, u32), RestoreError> {
        let server = Arc::clone(&self.server);
        let mut server = server.lock().await;
        let in_step = server.is_at(&to.writes);
        let mut rung = Rung::Copy;
        let mut actions = 0;
        match self.world.config.writes {
            // Nothing was sent, or nothing is undone.
            Writes::Allow => {}
            _ if in_step => {}
            // What a commit wrote is in one lane's server, or in everybody's.
            Writes::Hold => {
                let stays = || {
                    RestoreError::Unrestorable("a commit wrote since, and that stays".to_owned())
                };
                let site = self.site.as_ref().ok_or_else(stays)?;
                if server.common(&to.writes) < server.writes.len() {
                    return Err(stays());
                }
                if to.origin.as_deref() != Some(site.origin()) {
                    let saved = to.checkpoint.as_ref().ok_or_else(|| {
                        RestoreError::Unrestorable(
                            "what the commit wrote could not be saved for another server"
                                .to_owned(),
                        )
                    })?;
                    site.load(saved, cx)
                        .await
                        .map_err(|error| RestoreError::Unrestorable(error.to_string()))?;
                }
            }
            Writes::Checkpoint => {
                if let Some(site) = &self.site {
                    let failed = |error: crate::env::SiteError| {
                        RestoreError::Unrestorable(error.to_string())
                    };
                    match &to.checkpoint {
                        Some(saved) => site.load(saved, cx).await.map_err(failed)?,
                        None if to.writes.is_empty() && site.resets() => {
                            site.reset(cx).await.map_err(failed)?;
                        }
                        None => {
                            return Err(RestoreError::Unrestorable(
                                "the server's state was not saved and it cannot be put back"
                                    .to_owned(),
                            ));
                        }
                    }
                } else {
                    actions = self.back_by_undo(to, want, &mut server, cx).await?;
                    rung = Rung::Undo;
                }
            }
            Writes::Session => {
                drop(server);
                let path: Vec<Action> = to.path().into_iter().cloned().collect();
                actions = self.replay(&path, Some(to), want, cx).await?;
                server = self.server.lock().await;
                rung = Rung::Replay;
                // The sessions' own cookies, not those of another lane's.
                let sessions = std::mem::take(&mut self.state.sessions);
                server.put(&to.writes);
                self.state = State {
                    sessions,
                    ..(**to).clone()
                };
                drop(server);
                self.verify(to, want, cx).await?;
                return Ok((rung, actions));
            }
        }
        let was_in_step = in_step || self.world.config.writes == Writes::Allow;
        if !was_in_step && rung != Rung::Undo {
            server.unsure = None;
            server.put(&to.writes);
        }
        drop(server);
        self.state = (**to).clone();
        for (name, session) in &self.sessions {
            if let Some(state) = self.state.sessions.get(name) {
                session.load(state);
            } else if session.save() != Value::Null {
                // It has cookies that the state does not know: only a fresh one has none.
                session.load(&Value::Null);
            }
        }
        if !was_in_step {
            self.verify(to, want, cx).await?;
        }
        let got = self.digest();
        if got != want {
            return Err(RestoreError::Diverged {
                want,
                got,
                detail: format!("state {number} is not what it was"),
            });
        }
        Ok((rung, actions))
    }
}

/// Why a call of the environment cannot even begin.
enum Unfit {
    Interrupted(Interrupted),
    Lost(String),
    Other(String),
}

macro_rules! unfit {
    ($($error:ident),*) => {$(
        impl From<Unfit> for $error {
            fn from(unfit: Unfit) -> Self {
                match unfit {
                    Unfit::Interrupted(why) => Self::Interrupted(why),
                    Unfit::Lost(how) => Self::Lost(how),
                    Unfit::Other(reason) => Self::Other(reason),
                }
            }
        }
    )*};
}

unfit!(
    ObserveError,
    ActError,
    SnapshotError,
    QueryError,
    RestoreError
);

#[async_trait]
impl Environment for ToolEnvironment {
    fn actions(&self) -> &[ActionSpec] {
        &self.offer().specs
    }

    async fn observe(&mut self, cx: &Cx) -> Result<Observation, ObserveError> {
        self.fit(cx)?;
        let config = &self.world.config;
        let budget = usize::try_from(config.observation_tokens)
            .unwrap_or(usize::MAX)
            .saturating_mul(4);
        let rendered = render::render(&config.name, self.world.menu.all.len(), &self.state, budget);
        self.observed = true;
        Ok(Observation {
            url: self.url(),
            title: config.name.clone(),
            tokens: u32::try_from(rendered.text.len().div_ceil(4)).unwrap_or(u32::MAX),
            text: rendered.text,
            elements: rendered.elements,
            omitted: rendered.omitted,
            tabs: Vec::new(),
            notices: Vec::new(),
            digest: self.digest(),
            terminal: self.state.end.is_some(),
            screenshot: None,
        })
    }

    async fn act(&mut self, action: &Action, cx: &Cx) -> Result<Step, ActError> {
        self.fit(cx)?;
        self.perform(action, Purpose::Search, cx).await
    }

    async fn release(
        &mut self,
        action: &Action,
        allowed: &[Effect],
        cx: &Cx,
    ) -> Result<Step, ActError> {
        self.fit(cx)?;
        self.perform(action, Purpose::Commit(allowed), cx).await
    }

    /// Of all sources that speak HTTP, in the order of time; the comment names the others.
    fn archive(&self) -> Option<har::v1_2::Log> {
        let (mut logs, mut comments, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (name, session) in &self.sessions {
            match session.archive() {
                Some(log) => logs.push(log),
                None => others.push(format!("`{name}`")),
            }
        }
        let mut logs = logs.into_iter().filter(|log| !log.entries.is_empty());
        let mut whole = logs.next()?;
        comments.extend(whole.comment.take());
        for log in logs {
            whole.entries.extend(log.entries);
            let pages = whole.pages.get_or_insert_default();
            pages.extend(log.pages.unwrap_or_default());
            comments.extend(log.comment);
        }
        // Times are all of one form and zone.
        let time = |entry: &har::v1_2::Entries| entry.started_date_time.clone();
        whole.entries.sort_by_key(time);
        if !others.is_empty() {
            comments.push(format!("what {} exchanged is not in it", others.join(", ")));
        }
        whole.comment = (!comments.is_empty()).then(|| comments.join("; "));
        Some(whole)
    }

    async fn snapshot(&mut self, cx: &Cx) -> Result<Snapshot, SnapshotError> {
        self.fit(cx)?;
        if !self.observed {
            return Err(SnapshotError::Other(
                "observe the state before its snapshot".to_owned(),
            ));
        }
        let number = if let Some(number) = self.at {
            number
        } else {
            let writes = self.world.config.writes;
            let saves = match writes {
                Writes::Checkpoint => true,
                Writes::Hold => !self.state.writes.is_empty(),
                Writes::Session | Writes::Allow => false,
            };
            if let Some(site) = &self.site
                && saves
                && self.state.checkpoint.is_none()
            {
                self.state.checkpoint = site
                    .save(cx)
                    .await
                    .map_err(|error| SnapshotError::Other(error.to_string()))?;
            }
            if matches!(writes, Writes::Session | Writes::Checkpoint) && self.state.proof.is_none()
            {
                let proof = self.prove(cx).await.map_err(SnapshotError::Other)?;
                self.state.proof = proof.map(Arc::new);
            }
            self.world.keep(self.state.clone())
        };
        self.at = Some(number);
        let data = json!({
            "world": self.world.id,
            "state": number,
            "ended": self.state.end.is_some(),
            "path": self.state.path(),
        });
        Ok(Snapshot {
            digest: self.digest(),
            data,
        })
    }

    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        if let Some(how) = &self.lost {
            return Err(RestoreError::Lost(how.clone()));
        }
        let begun = Instant::now();
        let ms = |begun: Instant| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.is_at(to) {
            return Ok(Restored::by(Rung::Live, 0, ms(begun)));
        }
        let number = to.data["state"].as_u64();
        let ours = to.data["world"] == json!(self.world.id);
        let kept = number
            .filter(|_| ours)
            .and_then(|n| Some((n, self.world.kept(n)?)));
        let write_cut_off = self.cut_off == Some(true);
        self.moved();
        let (rung, actions) = if let Some((number, state)) = kept {
            let reached = self.back(&state, number, to.digest, cx).await?;
            self.at = Some(number);
            reached
        } else {
            // A state of another run: only its path is known.
            let repeatable = self.world.config.writes == Writes::Hold && !write_cut_off;
            if !repeatable || to.data["ended"] == json!(true) {
                return Err(RestoreError::Unrestorable(
                    "it is a state of another world".to_owned(),
                ));
            }
            let path: Vec<Action> = serde_json::from_value(to.data["path"].clone())
                .map_err(|_| RestoreError::Unrestorable("the snapshot holds no path".to_owned()))?;
            let actions = self.replay(&path, None, to.digest, cx).await?;
            (Rung::Replay, actions)
        };
        self.cut_off = None;
        self.observed = true;
        Ok(Restored::by(rung, actions, ms(begun)))
    }

    async fn query(&mut self, query: &Query, cx: &Cx) -> Result<Value, QueryError> {
        self.fit(cx)?;
        match query {
            Query::Url => Ok(self.url().into()),
            Query::PageText { selector: None } => {
                let config = &self.world.config;
                let all = render::render(
                    &config.name,
                    self.world.menu.all.len(),
                    &self.state,
                    1 << 20,
                );
                Ok(all.text.into())
            }
            Query::PageText { selector: Some(_) } => {
                Err(QueryError::Unsupported("page_text by selector".to_owned()))
            }
            Query::Sql { statement } => match &self.site {
                Some(site) => site
                    .sql(statement, cx)
                    .await
                    .map_err(|error| QueryError::Other(error.to_string())),
                None => Err(QueryError::Unsupported("sql".to_owned())),
            },
            Query::Reward => match &self.site {
                Some(site) => {
                    let reward = site.reward(cx).await;
                    let reward = reward.map_err(|error| QueryError::Other(error.to_string()))?;
                    Ok(reward.map_or(Value::Null, Into::into))
                }
                None => Ok(Value::Null),
            },
            Query::Call { tool, arguments } => self.ask_tool(tool, arguments, cx).await,
        }
    }

    fn is_at(&self, snapshot: &Snapshot) -> bool {
        let here = self.lost.is_none()
            && self.cut_off.is_none()
            && self.observed
            && self.at.is_some()
            && snapshot.data["state"].as_u64() == self.at
            && snapshot.data["world"] == json!(self.world.id);
        here && (self.world.config.writes == Writes::Allow
            || self
                .server
                .try_lock()
                .is_ok_and(|server| server.is_at(&self.state.writes)))
    }

    fn difference(&self, from: &Snapshot) -> Option<String> {
        let number = from.data["state"].as_u64();
        let then = number.filter(|_| from.data["world"] == json!(self.world.id));
        let then = self.world.kept(then?)?;
        Some(then.difference(&self.state, &self.world.volatile))
    }

    async fn close(mut self: Box<Self>, cx: &Cx) -> Result<(), CloseError> {
        let mut trouble = None;
        // The server is everybody's: it is put back even where this instance's session is lost.
        if self.world.undoes() {
            let server = Arc::clone(&self.server);
            let mut server = server.lock().await;
            if let Err(error) = self.undo_rest(&mut server, cx).await {
                trouble = Some(format!("what the search wrote stays: {error}"));
            }
        }
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.close().await;
        }
        if let Some(site) = self.site.take()
            && let Err(error) = site.close(self.commits, cx).await
        {
            trouble.get_or_insert(error.to_string());
        }
        match trouble {
            None => Ok(()),
            Some(trouble) => Err(CloseError::Other(trouble)),
        }
    }
}
