//! The lane itself: a browser context and its tabs, as the environment handles them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::browser::{
    BrowserContextId, PermissionDescriptor, PermissionSetting, SetDownloadBehaviorBehavior,
    SetDownloadBehaviorParams, SetPermissionParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::network::{Cookie, CookieParam, TimeSinceEpoch};
use chromiumoxide_cdp::cdp::browser_protocol::storage::{
    ClearCookiesParams, GetCookiesParams, SetCookiesParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::target::{
    ActivateTargetParams, CreateBrowserContextParams, CreateTargetParams,
    DisposeBrowserContextParams,
};
use tokio::sync::{mpsc, watch};

use super::follow::follow;
use super::setup::{LaneSetup, host, is_local};
use super::state::{LaneState, Shared};
use crate::context::{Cx, Interrupted};
use crate::env::browser::archive::Archive;
use crate::env::browser::connection::{CALL_LIMIT, CdpError, Connection};

/// How long after its end a tab's last requests are waited for; they come within a few milliseconds.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A browser context with its event task. Dropping it disposes of the context.
pub(in crate::env::browser) struct Lane {
    pub connection: Connection,
    pub setup: Arc<LaneSetup>,
    context: String,
    shared: Arc<Shared>,
}

impl Lane {
    /// Creates a context and opens its first, blank tab.
    pub(in crate::env::browser) async fn create(
        connection: &Connection,
        setup: Arc<LaneSetup>,
        cx: &Cx,
    ) -> Result<Self, CdpError> {
        let created = connection
            .call(
                None,
                CreateBrowserContextParams {
                    dispose_on_detach: Some(true),
                    ..CreateBrowserContextParams::default()
                },
                cx,
            )
            .await?;
        let context = created.browser_context_id.inner().clone();
        let (sender, events) = mpsc::unbounded_channel();
        let (version, _) = watch::channel(0);
        let state = LaneState {
            archive: setup.archive.then(Archive::default),
            ..LaneState::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            version,
        });
        connection.route(&context, sender);
        tokio::spawn(follow(
            connection.clone(),
            Arc::clone(&setup),
            Arc::clone(&shared),
            events,
        ));
        let lane = Self {
            connection: connection.clone(),
            setup,
            context,
            shared,
        };
        let downloads = connection.send(
            None,
            SetDownloadBehaviorParams {
                behavior: SetDownloadBehaviorBehavior::Deny,
                browser_context_id: Some(BrowserContextId::new(lane.context.clone())),
                download_path: None,
                events_enabled: Some(true),
            },
        );
        lane.grant_own_network();
        lane.open_tab("about:blank", cx).await?;
        downloads.reply(CALL_LIMIT, cx).await?;
        Ok(lane)
    }

    /// A document that a restore answers from the log comes from no address, and the browser then takes
    /// a site on this machine or its network for a stranger to it: its sockets would be refused. Older
    /// browsers do not know the permission, nor do they ask for it.
    fn grant_own_network(&self) {
        let origin = &self.setup.origin.0;
        if is_local(host(origin)) {
            for own in ["loopback-network", "local-network"] {
                let grant = SetPermissionParams {
                    origin: Some(origin.clone()),
                    browser_context_id: Some(BrowserContextId::new(self.context.clone())),
                    ..SetPermissionParams::new(
                        PermissionDescriptor::new(own),
                        PermissionSetting::Granted,
                    )
                };
                drop(self.connection.send(None, grant));
            }
        }
    }

    /// Opens a tab, makes it the active one and waits until it is set up.
    pub(in crate::env::browser) async fn open_tab(
        &self,
        url: &str,
        cx: &Cx,
    ) -> Result<String, CdpError> {
        self.lock().expect_tab = true;
        let params = CreateTargetParams {
            browser_context_id: Some(BrowserContextId::new(self.context.clone())),
            ..CreateTargetParams::new(url)
        };
        let target = self
            .connection
            .call(None, params, cx)
            .await?
            .target_id
            .inner()
            .clone();
        let ready = self.wait(CALL_LIMIT, cx, |state| {
            let found = state.sessions.iter().find(|(_, s)| s.target == target)?;
            found.1.ready.then(|| found.0.clone())
        });
        let session = ready.await.map_err(|why| CdpError::Interrupted {
            method: "Target.createTarget".to_owned(),
            why,
        })?;
        let mut state = self.lock();
        state.expect_tab = false;
        let session = session.ok_or_else(|| CdpError::Gone {
            method: "Target.createTarget".to_owned(),
            what: "the browser",
        })?;
        state.active = Some(session.clone());
        Ok(session)
    }

    /// Makes a tab the active one.
    pub(in crate::env::browser) async fn activate(
        &self,
        session: &str,
        cx: &Cx,
    ) -> Result<(), CdpError> {
        let target = self.lock().sessions.get(session).map(|s| s.target.clone());
        let target = target.ok_or_else(|| CdpError::Gone {
            method: "Target.activateTarget".to_owned(),
            what: "the page",
        })?;
        let params = ActivateTargetParams::new(target);
        self.connection.call(None, params, cx).await?;
        self.lock().active = Some(session.to_owned());
        Ok(())
    }

    /// The state, for reading and for taking reports out.
    pub(in crate::env::browser) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.shared.lock()
    }

    /// Waits until `test` gives something; `None` if the lane died first.
    pub(in crate::env::browser) async fn wait<T>(
        &self,
        limit: Duration,
        cx: &Cx,
        mut test: impl FnMut(&mut LaneState) -> Option<T>,
    ) -> Result<Option<T>, Interrupted> {
        let mut version = self.shared.version.subscribe();
        cx.bounded(limit, async {
            loop {
                version.mark_unchanged();
                {
                    let mut state = self.lock();
                    if let Some(found) = test(&mut state) {
                        return Some(found);
                    }
                    if state.dead.is_some() {
                        return None;
                    }
                }
                if version.changed().await.is_err() {
                    return None;
                }
            }
        })
        .await
    }

    /// The lane's cookies.
    pub(in crate::env::browser) async fn cookies(&self, cx: &Cx) -> Result<Vec<Cookie>, CdpError> {
        let params = GetCookiesParams {
            browser_context_id: Some(BrowserContextId::new(self.context.clone())),
        };
        Ok(self.connection.call(None, params, cx).await?.cookies)
    }

    /// Notes what changed in the lane's cookies since the last time; the sessions that have another
    /// value now, each cookie with its origin.
    pub(in crate::env::browser) async fn note_cookies(
        &self,
        cx: &Cx,
    ) -> Result<Vec<(String, String)>, CdpError> {
        let now = self.cookies(cx).await?;
        let logical = |domain: &str| self.setup.cookie_origin(domain);
        Ok(self.lock().ledger.cookies(&now, logical))
    }

    /// Notes the requests that go on for longer than `long`.
    pub(in crate::env::browser) fn note_unended(&self, long: Duration) {
        for url in self.lock().unended(long) {
            self.setup.unended(url, long);
        }
    }

    /// Where a tab has just closed: waits for what it sent last, which the gate tells of a moment later
    /// and no event announces.
    pub(in crate::env::browser) async fn hear_last_words(&self, cx: &Cx) -> Result<(), CdpError> {
        let closed = self.lock().closed.take();
        let Some(closed) = closed else {
            return Ok(());
        };
        let left = LAST_WORDS.saturating_sub(closed.elapsed());
        match self.wait(left, cx, |_| None::<()>).await {
            Ok(_) | Err(Interrupted::Timeout(_)) => Ok(()),
            Err(why) => Err(CdpError::Interrupted {
                method: "the end of a tab".to_owned(),
                why,
            }),
        }
    }

    /// Replaces all of the lane's cookies.
    pub(in crate::env::browser) async fn set_cookies(
        &self,
        cookies: &[Cookie],
        cx: &Cx,
    ) -> Result<(), CdpError> {
        let context = || Some(BrowserContextId::new(self.context.clone()));
        let clear = self.connection.send(
            None,
            ClearCookiesParams {
                browser_context_id: context(),
            },
        );
        let params = SetCookiesParams {
            cookies: cookies.iter().map(cookie_param).collect(),
            browser_context_id: context(),
        };
        // The protocol refuses an empty list.
        let set = (!cookies.is_empty()).then(|| self.connection.send(None, params));
        clear.reply(CALL_LIMIT, cx).await?;
        match set {
            Some(set) => set.reply(CALL_LIMIT, cx).await.map(drop),
            None => Ok(()),
        }
    }

    /// An error if the lane's browser or renderer is gone.
    pub(in crate::env::browser) fn alive(&self) -> Result<(), CdpError> {
        match self.lock().dead {
            Some(_) => Err(CdpError::Gone {
                method: "the lane".to_owned(),
                what: "the browser",
            }),
            None => Ok(()),
        }
    }

    /// The session of the active tab.
    pub(in crate::env::browser) fn session(&self) -> Result<String, CdpError> {
        let state = self.lock();
        let gone = || CdpError::Gone {
            method: "the active tab".to_owned(),
            what: "the page",
        };
        if state.dead.is_some() {
            return Err(gone());
        }
        state.active().map(|(id, _)| id.to_owned()).ok_or_else(gone)
    }
}

fn cookie_param(cookie: &Cookie) -> CookieParam {
    CookieParam {
        domain: Some(cookie.domain.clone()),
        path: Some(cookie.path.clone()),
        secure: Some(cookie.secure),
        http_only: Some(cookie.http_only),
        same_site: cookie.same_site.clone(),
        expires: (!cookie.session).then(|| TimeSinceEpoch::new(cookie.expires)),
        ..CookieParam::new(cookie.name.clone(), cookie.value.clone())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.connection.unroute(&self.context);
        // Nobody waits for the reply: the browser disposes in its own time.
        drop(self.connection.send(
            None,
            DisposeBrowserContextParams::new(BrowserContextId::new(self.context.clone())),
        ));
    }
}
