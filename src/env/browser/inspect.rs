//! A look at one page of a site, before a search is spent on it: what two loads show differently,
//! what a digest covers, and whether going back works. Nothing is written: writes are held.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::environment::Browser;
use super::observe::Found;
use super::settle::SCRIPT_LIMIT;
use super::volatile::{Difference, Learned};
use super::world::{BrowserConfig, BrowserWorld};
use crate::context::Cx;
use crate::env::{Environment, FixedSite, ObserveError, OpenError, RestoreError, World as _};
use crate::types::{
    Action, Digest, ElementState, Observation, Restored, Seed, SiteNote, Snapshot, Step, Writes,
};

/// Words of links that are not followed for a trial.
const SHUNNED: [&str; 8] = [
    "log out",
    "logout",
    "sign out",
    "delete",
    "remove",
    "unsubscribe",
    "cancel",
    "download",
];

/// What is known of a page after a look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteReport {
    /// Where, after redirects.
    pub url: String,
    /// Its title.
    pub title: String,
    /// The digest of the page as it was loaded.
    pub digest: Digest,
    /// What the digest covers.
    pub covered: Covered,
    /// What two loads of the page show differently, in document order.
    pub differences: Vec<Difference>,
    /// Whether so much differs that nothing is left out of digests.
    pub too_many: bool,
    /// Why the two loads could not be compared, if so.
    pub not_compared: Option<String>,
    /// Ways back that were tried.
    pub restores: Vec<TakenBack>,
    /// Writes that the page or a trial action wanted to send: method and URL. They were held.
    pub held: Vec<String>,
    /// Cookies after the trial: name and attributes, never the value.
    pub cookies: Vec<String>,
    /// Scopes of registered service workers. They are bypassed.
    pub service_workers: Vec<String>,
    /// What a search passes by, or what stands in the way of its restores.
    pub notes: Vec<SiteNote>,
    /// What else there is to know: boxes, downloads, pages that do not come to rest.
    pub notices: Vec<String>,
}

/// How much of each kind a page's digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Covered {
    /// Items: texts, headings, pictures and what can be used.
    pub items: usize,
    /// What can be acted upon.
    pub usable: usize,
    /// Of these, fields with a value.
    pub fields: usize,
    /// Frames beside the main one.
    pub frames: usize,
    /// Hidden fields.
    pub hidden: usize,
    /// Whether the page was too large to be read whole.
    pub cut: bool,
}

/// One way back that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// The state, by what led to it: `the start`, `fill textbox "Search"`.
    pub state: String,
    /// How it was reached, if it was: proved by the digest.
    pub restored: Option<Restored>,
    /// Why not, if it was not.
    pub failed: Option<String>,
}

impl SiteReport {
    /// Whether every state was found again, and two loads differ in nothing that counts.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.restores.iter().all(|back| back.restored.is_some())
            && self.differences.iter().all(|d| d.masked.is_some())
            && self.not_compared.is_none()
    }
}

/// Loads the page at `url` (`http` or `https`) twice, tries an action or two, and goes back.
///
/// # Errors
/// [`OpenError`], where the page cannot be opened or the browser is lost.
pub async fn inspect(config: BrowserConfig, url: &str, cx: &Cx) -> Result<SiteReport, OpenError> {
    let (origin, path) = split(url).ok_or_else(|| OpenError::Start {
        url: url.to_owned(),
        reason: "an http or https URL is expected".to_owned(),
    })?;
    let config = BrowserConfig {
        double_load: true,
        screenshots: false,
        ..config
    };
    let site = Arc::new(FixedSite::new(origin));
    let world = BrowserWorld::new(config, site, path, Writes::Hold, None);
    let mut browser = world.open_lane(Seed(0), false, cx).await?;
    let first = browser.observe(cx).await.map_err(observing)?;
    let mut report = SiteReport {
        url: first.url.clone(),
        title: first.title.clone(),
        digest: first.digest,
        covered: browser.covered(cx).await?,
        differences: Vec::new(),
        too_many: false,
        not_compared: None,
        restores: Vec::new(),
        held: Vec::new(),
        cookies: Vec::new(),
        service_workers: browser.service_workers(cx).await?,
        notes: Vec::new(),
        notices: Vec::new(),
    };
    if let Some(learned) = browser.lane.setup.learned.get() {
        report.differences.clone_from(&learned.differences);
        report.too_many = learned.too_many;
        report.not_compared.clone_from(&learned.failed);
    }
    take_back(&mut browser, first, &mut report, cx).await?;
    let cookies = browser.lane.cookies(cx).await?;
    report.cookies = cookies
        .iter()
        .map(|cookie| {
            let mut text = cookie.name.clone();
            let kinds = [
                (cookie.http_only, "HttpOnly"),
                (cookie.secure, "Secure"),
                (cookie.session, "session"),
            ];
            let kinds = kinds.iter().filter(|kind| kind.0);
            let kinds: Vec<&str> = kinds.map(|kind| kind.1).collect();
            if !kinds.is_empty() {
                text.push_str(&format!(" ({})", kinds.join(", ")));
            }
            text
        })
        .collect();
    report.cookies.sort();
    report.notes = world.notes();
    Ok(report)
}

/// Origin and path of a URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let url = url.trim();
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))?;
    if rest.is_empty() || rest.starts_with('/') {
        return None;
    }
    let host = url.len() - rest.len();
    Some(match rest.find(['/', '?', '#']) {
        Some(end) if rest[end..].starts_with('/') => url.split_at(host + end),
        Some(_) => return None,
        None => (url, "/"),
    })
}

fn observing(error: ObserveError) -> OpenError {
    match error {
        ObserveError::Interrupted(why) => OpenError::Interrupted(why),
        ObserveError::Lost(what) => OpenError::Lost(what),
        other => OpenError::Other(other.to_string()),
    }
}

/// Acts once or twice, then restores every state, the last one first.
async fn take_back(
    browser: &mut Browser,
    first: Observation,
    report: &mut SiteReport,
    cx: &Cx,
) -> Result<(), OpenError> {
    let failed = |error: &dyn std::fmt::Display| OpenError::Other(error.to_string());
    let learned = browser.lane.setup.learned.get();
    let compared = learned.and_then(Learned::warning);
    let note = |report: &mut SiteReport, seen: &Observation| {
        for notice in &seen.notices {
            // The comparison is reported on its own.
            if Some(&notice.text) != compared.as_ref() {
                report.notices.push(notice.text.clone());
            }
        }
    };
    note(report, &first);
    let snapshot = browser.snapshot(cx).await.map_err(|e| failed(&e))?;
    let mut states: Vec<(String, Snapshot)> = vec![("the start".to_owned(), snapshot)];
    for trial in [field, link] {
        let Some((what, action)) = browser
            .items
            .iter()
            .find_map(|found| trial(found, &first.url))
        else {
            continue;
        };
        match browser.act(&action, cx).await.map_err(|e| failed(&e))? {
            Step::Done { .. } => {}
            Step::Held { effects } => {
                let held = effects.iter().map(|e| format!("{} {}", e.method, e.url));
                report.held.extend(held);
                continue;
            }
            Step::Rejected(rejection) => {
                report.notices.push(format!("{what}: {rejection}"));
                continue;
            }
        }
        let seen = browser.observe(cx).await.map_err(observing)?;
        note(report, &seen);
        let snapshot = browser.snapshot(cx).await.map_err(|e| failed(&e))?;
        states.push((what, snapshot));
    }
    // The live state comes last: the others are the proof.
    let order = (0..states.len().saturating_sub(1))
        .rev()
        .chain([states.len() - 1]);
    for index in order {
        let (state, snapshot) = &states[index];
        let (restored, failed) = match browser.restore(snapshot, cx).await {
            Ok(restored) => (Some(restored), None),
            Err(RestoreError::Interrupted(why)) => return Err(OpenError::Interrupted(why)),
            Err(RestoreError::Lost(what)) => return Err(OpenError::Lost(what)),
            Err(error) => (None, Some(error.to_string())),
        };
        report.restores.push(TakenBack {
            state: state.clone(),
            restored,
            failed,
        });
    }
    Ok(())
}

fn usable(found: &Found) -> bool {
    let blocked = [ElementState::Disabled, ElementState::Readonly];
    found.number > 0
        && !found
            .element
            .states
            .iter()
            .any(|state| blocked.contains(state))
}

/// A trial that stays in the document: a text field is filled.
fn field(found: &Found, _url: &str) -> Option<(String, Action)> {
    let element = &found.element;
    let text =
        matches!(element.role.as_str(), "textbox" | "searchbox") && found.facts.secret.is_none();
    let plain = !found.facts.marks.as_deref().is_some_and(|marks| {
        ["date", "time", "month", "week", "color"]
            .iter()
            .any(|kind| marks.contains(&format!("type={kind}")))
    });
    (text && plain && usable(found) && element.visible).then(|| {
        let arguments = json!({"ref": found.number.to_string(), "text": "branchline"});
        (
            format!("fill {} \"{}\"", element.role, element.name),
            Action::new("fill", arguments),
        )
    })
}

/// A trial that leaves the document: a link of the same site is followed.
fn link(found: &Found, url: &str) -> Option<(String, Action)> {
    let element = &found.element;
    let to = found.facts.to.as_deref()?;
    let host = url.find("://")? + 3;
    let origin = &url[..url[host..].find('/').map_or(url.len(), |end| host + end)];
    let page = |url: &str| url.split('#').next().map(str::to_owned);
    let away = to.starts_with(&format!("{origin}/")) && page(to) != page(url);
    let words = format!("{} {to}", element.name).to_lowercase();
    let fits =
        element.role == "link" && away && !SHUNNED.iter().any(|shunned| words.contains(shunned));
    (fits && usable(found)).then(|| {
        let arguments = json!({"ref": found.number.to_string()});
        (
            format!("click link \"{}\"", element.name),
            Action::new("click", arguments),
        )
    })
}

impl Browser {
    async fn covered(&mut self, cx: &Cx) -> Result<Covered, OpenError> {
        let page = self.read(cx).await?;
        let usable = page.found.iter().filter(|found| found.number > 0);
        Ok(Covered {
            items: page.found.len(),
            usable: usable.clone().count(),
            fields: usable.filter(|found| found.element.value.is_some()).count(),
            frames: page.frames.len().saturating_sub(1),
            hidden: page.hidden.len(),
            cut: page.truncated,
        })
    }

    /// Scopes of the service workers that the page has registered.
    async fn service_workers(&self, cx: &Cx) -> Result<Vec<String>, OpenError> {
        let script = "(async () => { try { return (await navigator.serviceWorker.getRegistrations()).map((r) => r.scope); } \
                      catch { return []; } })()";
        let session = self.lane.session()?;
        let found = self
            .lane
            .connection
            .evaluate(&session, None, script.to_owned(), SCRIPT_LIMIT, cx)
            .await?;
        let scopes = found.as_array().into_iter().flatten();
        Ok(scopes
            .filter_map(Value::as_str)
            .map(|scope| self.lane.setup.logical(scope))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_where_its_path_begins() {
        assert_eq!(split("http://a.b:8/x?y"), Some(("http://a.b:8", "/x?y")));
        assert_eq!(split(" https://a.b"), Some(("https://a.b", "/")));
        for bad in ["ftp://a/", "a.b", "http://", "http:///x", "http://a?x"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
