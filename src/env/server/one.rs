//! One server: where it is, and how its state is saved and put back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::site::SiteError;
use super::hook;
use super::process::{Place, Process, StartError};
use super::saved::{Saved, Store};
use super::spec::{Checkpoint, Hook, Launch, Names, ServerSpec};
use super::sqlite::{Databases, Stop, Version};
use crate::context::{Cx, Interrupted};

/// How long an evaluator's statement may take.
const SQL_LIMIT: Duration = Duration::from_secs(5);

/// A running server.
pub(super) struct Server {
    origin: String,
    /// Where its commands run, and its relative paths start.
    folder: PathBuf,
    names: Names,
    checkpoint: Option<Checkpoint>,
    files: Arc<Mutex<Files>>,
    client: reqwest::Client,
    /// The process, where it is ours.
    _process: Option<Process>,
}

/// The server's files, and which saved state they are known to be in.
struct Files {
    databases: Databases,
    known: Option<(Arc<Saved>, Vec<Version>)>,
}

impl Server {
    /// A server that runs already.
    pub(super) async fn at(
        spec: &ServerSpec,
        origin: &str,
        client: &reqwest::Client,
    ) -> Result<Self, SiteError> {
        let names = names(spec, origin, &spec.folder);
        Self::connect(spec, origin, &spec.folder, names, client, None)
            .await
            .map_err(SiteError::Start)
    }

    /// Starts a server, on `port` or on any free one.
    pub(super) async fn start(
        spec: &ServerSpec,
        launch: &Launch,
        client: &reqwest::Client,
        cx: &Cx,
    ) -> Result<Self, SiteError> {
        let place = Place::new().map_err(SiteError::Start)?;
        let (origin, folder) = (place.origin(), place.folder());
        let names = names(spec, &origin, &folder);
        let started = Process::start(launch, &place, &names, &spec.folder, client, cx).await;
        let process = started.map_err(|error| match error {
            StartError::Interrupted(why) => SiteError::Interrupted(why),
            StartError::Failed(reason) => SiteError::Start(reason),
        })?;
        Self::connect(spec, &origin, &folder, names, client, Some(process))
            .await
            .map_err(SiteError::Start)
    }

    async fn connect(
        spec: &ServerSpec,
        origin: &str,
        folder: &Path,
        names: Names,
        client: &reqwest::Client,
        process: Option<Process>,
    ) -> Result<Self, String> {
        let files = spec.checkpoint.iter().flat_map(|c| &c.sqlite);
        let files = files.map(|path| Ok(folder.join(names.fill(path)?)));
        let files = files.collect::<Result<Vec<_>, String>>()?;
        let ours = process.is_some();
        let opening = tokio::task::spawn_blocking(move || Databases::open(files, ours));
        let databases = opening.await.map_err(|died| died.to_string())?;
        let databases = databases
            .map_err(|reason| format!("the SQLite file of {origin} cannot be opened: {reason}"))?;
        Ok(Self {
            origin: origin.to_owned(),
            folder: folder.to_owned(),
            names,
            checkpoint: spec.checkpoint.clone(),
            files: Arc::new(Mutex::new(Files {
                databases,
                known: None,
            })),
            client: client.clone(),
            _process: process,
        })
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether its state can be saved.
    pub(super) fn can_save(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(Checkpoint::saves)
    }

    /// The present state.
    pub(super) async fn save(&self, store: &Arc<Store>, cx: &Cx) -> Result<Arc<Saved>, SiteError> {
        self.bounded("save its state", cx, self.saving(store)).await
    }

    async fn saving(&self, store: &Arc<Store>) -> Result<Arc<Saved>, String> {
        let Some(checkpoint) = &self.checkpoint else {
            return Err("it has no [checkpoint]".to_owned());
        };
        let saved = store.begin()?;
        let saved = if checkpoint.sqlite.is_empty() {
            saved
        } else {
            let unhooked = checkpoint.save.is_none();
            let copied = self.with_files(checkpoint, move |files, stop| {
                let before = files.databases.versions()?;
                // Nobody has written since a state was saved or put back: it is still that one.
                if let Some((known, at)) = &files.known
                    && unhooked
                    && *at == before
                {
                    return Ok((None, Some(Arc::clone(known))));
                }
                files.databases.save(saved.files(), stop)?;
                let clean = files.databases.versions()? == before;
                files.known = None;
                Ok((Some((saved, clean.then_some(before))), None))
            });
            match copied.await? {
                (_, Some(known)) => return Ok(known),
                (Some((saved, versions)), None) => {
                    if let (true, Some(versions)) = (unhooked, versions) {
                        let mut saved = saved;
                        saved.weigh();
                        let saved = Arc::new(saved);
                        self.lock().known = Some((Arc::clone(&saved), versions));
                        return Ok(saved);
                    }
                    saved
                }
                (None, None) => return Err("nothing was copied".to_owned()),
            }
        };
        let mut saved = saved;
        match &checkpoint.save {
            None => {}
            Some(Hook::Command(argv)) => {
                std::fs::create_dir(saved.of_hook()).map_err(|error| error.to_string())?;
                self.command(argv, &saved).await?;
            }
            Some(Hook::Http { method, url }) => {
                let ours = url.contains("{id}");
                let answer = self.http(checkpoint, method, url, &saved).await?;
                if !ours && let Some(id) = hook::id_in(&answer)? {
                    saved.id = id;
                } else if !ours {
                    return Err(format!(
                        "{method} {url} answered no name of the checkpoint (JSON with `id`, or text)"
                    ));
                }
            }
        }
        saved.weigh();
        Ok(Arc::new(saved))
    }

    /// Puts a saved state back.
    pub(super) async fn load(&self, saved: &Arc<Saved>, cx: &Cx) -> Result<(), SiteError> {
        self.bounded("put its state back", cx, self.loading(saved))
            .await
    }

    async fn loading(&self, saved: &Arc<Saved>) -> Result<(), String> {
        let Some(checkpoint) = &self.checkpoint else {
            return Err("it has no [checkpoint]".to_owned());
        };
        if !checkpoint.sqlite.is_empty() {
            let unhooked = checkpoint.save.is_none() && checkpoint.restore.is_none();
            let saved = Arc::clone(saved);
            let there = self.with_files(checkpoint, move |files, stop| {
                if unhooked
                    && let Some((known, at)) = &files.known
                    && Arc::ptr_eq(known, &saved)
                    && *at == files.databases.versions()?
                {
                    return Ok(());
                }
                files.known = None;
                files.databases.load(saved.files(), stop)?;
                let versions = files.databases.versions()?;
                files.known = Some((saved, versions));
                Ok(())
            });
            there.await?;
        }
        match &checkpoint.restore {
            None => Ok(()),
            Some(Hook::Command(argv)) => self.command(argv, saved).await,
            Some(Hook::Http { method, url }) => {
                self.http(checkpoint, method, url, saved).await.map(drop)
            }
        }
    }

    /// One read-only statement on the first `SQLite` file.
    pub(super) async fn sql(&self, statement: &str, cx: &Cx) -> Result<Value, SiteError> {
        let (files, statement) = (Arc::clone(&self.files), statement.to_owned());
        let asking = tokio::task::spawn_blocking(move || {
            let files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.databases.sql(&statement)
        });
        let failed = |reason: String| SiteError::Failed {
            verb: "answer SQL",
            reason,
        };
        match cx.bounded(SQL_LIMIT, asking).await {
            Ok(Ok(rows)) => rows.map_err(failed),
            Ok(Err(died)) => Err(failed(died.to_string())),
            Err(interrupted) => Err(failed(interrupted.to_string())),
        }
    }

    fn limit(&self) -> Duration {
        let seconds = self.checkpoint.as_ref().map_or(30, |c| c.seconds.get());
        Duration::from_secs(seconds)
    }

    async fn bounded<T>(
        &self,
        verb: &'static str,
        cx: &Cx,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, SiteError> {
        let failed = |reason: String| SiteError::Failed {
            verb,
            reason: format!("{}: {reason}", self.origin),
        };
        match cx.bounded(self.limit(), work).await {
            Ok(done) => done.map_err(failed),
            Err(Interrupted::Cancelled) => Err(SiteError::Interrupted(Interrupted::Cancelled)),
            Err(Interrupted::Timeout(limit)) => {
                let seconds = limit.as_secs_f32();
                Err(failed(format!("it was not done within {seconds:.1} s")))
            }
        }
    }

    /// Works on the files on a thread that may block. However the call ends, also by being dropped,
    /// the work ends too, before any other begins.
    async fn with_files<T: Send + 'static>(
        &self,
        checkpoint: &Checkpoint,
        work: impl FnOnce(&mut Files, &Stop) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let limit = Duration::from_secs(checkpoint.seconds.get());
        let stop = Stop {
            deadline: Instant::now() + limit,
            limit,
            withdrawn: Arc::default(),
        };
        let _withdraw = Withdraw(Arc::clone(&stop.withdrawn));
        let files = Arc::clone(&self.files);
        let working = tokio::task::spawn_blocking(move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut files, &stop)
        });
        working.await.map_err(|died| died.to_string())?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn command(&self, argv: &[String], saved: &Saved) -> Result<(), String> {
        let argv = argv.iter().map(|word| self.names.fill(word));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let env = [
            (
                "BRANCHLINE_CHECKPOINT",
                saved.of_hook().display().to_string(),
            ),
            ("BRANCHLINE_ORIGIN", self.origin.clone()),
        ];
        hook::command(&argv, &self.folder, &env).await
    }

    async fn http(
        &self,
        checkpoint: &Checkpoint,
        method: &str,
        url: &str,
        saved: &Saved,
    ) -> Result<Vec<u8>, String> {
        let mut names = self.names.clone();
        names.0.push(("id", saved.id.clone()));
        let url = names.fill(url)?;
        let url = if url.starts_with('/') {
            format!("{}{url}", self.origin)
        } else {
            url
        };
        let headers = checkpoint
            .headers
            .iter()
            .map(|(key, value)| Ok((key.clone(), names.fill(value)?)));
        let headers = headers.collect::<Result<Vec<_>, String>>()?;
        hook::http(&self.client, method, &url, &headers).await
    }
}

/// Withdraws blocking work when the call that waits for it is dropped.
struct Withdraw(Arc<AtomicBool>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn names(spec: &ServerSpec, origin: &str, folder: &Path) -> Names {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port,
        Some(_) | None if origin.starts_with("https:") => "443",
        Some(_) | None => "80",
    };
    Names(vec![
        ("port", port.to_owned()),
        ("origin", origin.to_owned()),
        ("dir", folder.display().to_string()),
        ("folder", spec.folder.display().to_string()),
    ])
}
