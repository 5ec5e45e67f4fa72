//! Where tasks take place: sites, and the worlds that read their pages.

use std::sync::Arc;

use super::models::ModelArgs;
use super::run::{OutputArgs, SearchArgs, browser};
use super::{CliError, Exit};
use crate::context::Cx;
use crate::demo::DemoSite;
use crate::env::browser::{BrowserBinary, BrowserConfig, BrowserWorld};
use crate::env::html::{Fit, HtmlConfig, HtmlWorld, compare};
use crate::env::server::ServerSite;
use crate::env::{Environment, OpenError, Site, World};
use crate::task::bfcl::{BfclServer, BfclSite};
use crate::task::miniwob::MiniwobSite;
use crate::task::{EnvKind, StartSite, Task, data_dir};
use crate::types::{Observation, Seed};

/// What is asked for: the command line goes before the task, except that tools are no pages.
fn kind(asked: Option<EnvKind>, task: &Task) -> EnvKind {
    match (task.env, asked) {
        (EnvKind::Tools, _) => EnvKind::Tools,
        (own, asked) => asked.unwrap_or(own),
    }
}

/// What the pages of a task are read with.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Never [`EnvKind::Auto`].
    pub kind: EnvKind,
    /// Why, where it was not simply asked for.
    pub why: Option<String>,
}

/// Opens worlds as the options say.
#[derive(Debug)]
pub(super) struct Places {
    asked: Option<EnvKind>,
    /// The browser, where there is one.
    pub browser: Option<BrowserBinary>,
    screenshots: bool,
    page_tokens: u32,
    double_load: bool,
    /// One process for all tasks of BFCL.
    bfcl: BfclServer,
}

impl Places {
    /// Checks that every task's pages can be read before the first is searched.
    ///
    /// # Errors
    /// A task needs a browser and none is there, or it needs one and html was asked for.
    pub(super) fn new(
        tasks: &[Task],
        search: &SearchArgs,
        models: &ModelArgs,
        output: &OutputArgs,
    ) -> Result<Self, CliError> {
        let asked = search.env.map(EnvKind::from);
        let kind = |task: &Task| kind(asked, task);
        let scripted = tasks.iter().find(|task| task.episode.is_some());
        if let Some(task) = scripted.filter(|task| kind(task) == EnvKind::Html) {
            let what = format!("{}: its page is a script, which needs a browser", task.id);
            return Err(CliError::new(Exit::Usage, what).hint("--env browser"));
        }
        let needed = tasks
            .iter()
            .any(|task| kind(task) == EnvKind::Browser || task.episode.is_some());
        let browser = match browser(output) {
            Ok(browser) => Some(browser),
            Err(error) if needed => {
                return Err(error.hint("or do without one where pages need no scripts: --env html"));
            }
            Err(_) => None,
        };
        Ok(Self {
            asked,
            browser,
            screenshots: !output.no_screenshots,
            page_tokens: models.page_tokens,
            double_load: !search.no_double_load,
            bfcl: BfclServer::default(),
        })
    }

    /// The site a task starts on.
    pub(super) fn site(&self, task: &Task) -> Result<Arc<dyn Site>, CliError> {
        let data = || {
            data_dir().ok_or_else(|| {
                CliError::new(Exit::Usage, "no directory for fetched data")
                    .hint("set BRANCHLINE_DATA to a directory")
            })
        };
        Ok(match &task.start.site {
            StartSite::Demo => Arc::new(DemoSite::new()),
            StartSite::Miniwob => Arc::new(MiniwobSite::new(&data()?)?),
            StartSite::Bfcl(name) => Arc::new(BfclSite::new(&data()?, name, &self.bfcl)?),
            StartSite::Server(spec) => {
                let site = ServerSite::new((**spec).clone(), task.writes);
                Arc::new(site.map_err(|error| CliError::new(Exit::Environment, error))?)
            }
            StartSite::None => {
                let what = format!("{}: it has no site", task.id);
                return Err(CliError::new(Exit::Usage, what));
            }
        })
    }

    /// The world of a task, read in this way.
    pub(super) fn world(&self, task: &Task, kind: EnvKind) -> Result<Arc<dyn World>, CliError> {
        let site = self.site(task)?;
        let path = &task.start.path;
        if kind == EnvKind::Html {
            let config = HtmlConfig {
                observation_tokens: self.page_tokens,
                ..HtmlConfig::default()
            };
            let world = HtmlWorld::new(config, site, path, task.writes);
            return Ok(Arc::new(world.with_effects(task.effects.clone())));
        }
        let config = BrowserConfig {
            binary: self.browser.clone(),
            screenshots: self.screenshots,
            observation_tokens: self.page_tokens,
            // The demo and the benchmark pages are known to answer the same each time.
            double_load: self.double_load && matches!(task.start.site, StartSite::Server(_)),
            ..BrowserConfig::default()
        };
        let episode = task.episode.clone();
        let world = BrowserWorld::new(config, site, path, task.writes, episode);
        Ok(Arc::new(world.with_effects(task.effects.clone())))
    }

    /// Decides what a task's pages are read with. Under `auto` its start page is loaded once with
    /// a browser and once without.
    pub(super) async fn choose(&self, task: &Task, cx: &Cx) -> Result<Chosen, CliError> {
        let asked = kind(self.asked, task);
        if asked != EnvKind::Auto {
            return Ok(Chosen {
                kind: asked,
                why: None,
            });
        }
        let chosen = |kind, why: String| {
            Ok(Chosen {
                kind,
                why: Some(why),
            })
        };
        if task.episode.is_some() {
            return chosen(EnvKind::Browser, "its page is a script".to_owned());
        }
        if self.browser.is_none() {
            let why = "no browser is installed, so scripts will not run; \
                       `branchline doctor --install` installs one";
            return chosen(EnvKind::Html, why.to_owned());
        }
        let without = match self.look(task, EnvKind::Html, cx).await? {
            Ok(seen) => seen,
            Err(error) => {
                return chosen(EnvKind::Browser, format!("without one, {error}"));
            }
        };
        let with = match self.look(task, EnvKind::Browser, cx).await? {
            Ok(seen) => seen,
            Err(error) => return Err(CliError::new(Exit::Environment, error)),
        };
        let fit: Fit = compare(&without, &with);
        let kind = if fit.is_enough() {
            EnvKind::Html
        } else {
            EnvKind::Browser
        };
        chosen(kind, format!("on the start page {fit}"))
    }

    /// The start page, read in one way. The inner error is the environment's.
    async fn look(
        &self,
        task: &Task,
        kind: EnvKind,
        cx: &Cx,
    ) -> Result<Result<Observation, String>, CliError> {
        let world = self.world(task, kind)?;
        let mut env: Box<dyn Environment> = match world.open(Seed(0), cx).await {
            Ok(env) => env,
            Err(OpenError::Interrupted(why)) => return Err(CliError::new(Exit::Interrupted, why)),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let seen = env.observe(cx).await.map_err(|error| error.to_string());
        if let Err(error) = env.close(cx).await {
            tracing::warn!(%error, "the environment did not close cleanly");
        }
        Ok(seen)
    }
}
