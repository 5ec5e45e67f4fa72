//! What a lane is given: what it does to every page, and how its site is called.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::env::browser::kept::RestoreLimits;
use crate::env::browser::ledger;
use crate::env::browser::netlog::{Bodies, NetLog};
use crate::env::browser::rehome;
use crate::env::browser::volatile::{Learned, Mask};
use crate::env::browser::world::{DialogPolicy, Rest};
use crate::env::notes::SiteNotes;
use crate::env::page::shorten;
use crate::types::{EffectRules, MissReason, RequestClass, RequestUse, SiteNoteKind};

/// What follows from a response that is not kept.
const ONLY_REPLAY: &str = "pages that ask for it are only come back to by replay";

/// What a lane does to every page before its first script runs.
#[derive(Debug, Clone)]
pub(in crate::env::browser) struct LaneSetup {
    /// Main-world script: seeds, clocks, quiet detection.
    pub init: String,
    /// Isolated-world script: the walk.
    pub walk: String,
    /// Viewport in CSS pixels.
    pub viewport: (u32, u32),
    /// How rest is recognised.
    pub rest: Rest,
    /// Set where writes are stopped before they leave.
    pub hold: Option<SocketGuard>,
    /// What the task says of its requests.
    pub rules: EffectRules,
    /// Whether the exchanges are collected for an archive.
    pub archive: bool,
    /// How boxes are answered.
    pub dialogs: DialogPolicy,
    /// Real origin and its logical name, for notices and effects.
    pub origin: (String, String),
    /// What the site shows differently with every load, once that is known.
    pub learned: Arc<OnceLock<Learned>>,
    /// What is peculiar about it.
    pub notes: Arc<SiteNotes>,
    /// How much of the responses is kept.
    pub limits: RestoreLimits,
    /// Where their bodies are.
    pub bodies: Arc<Bodies>,
}

/// What holds the frames of sockets, in pages and workers.
#[derive(Debug, Clone)]
pub(in crate::env::browser) struct SocketGuard {
    /// Main-world script of every page and worker.
    pub script: String,
    /// Name of the function by which it tells.
    pub binding: String,
    /// Expression of its hook.
    pub hook: String,
    /// What the hook must be given.
    pub key: String,
}

impl LaneSetup {
    /// What is left out of digests.
    pub(in crate::env::browser) fn mask(&self) -> Arc<Mask> {
        let learned = self.learned.get();
        learned
            .map(|learned| Arc::clone(&learned.mask))
            .unwrap_or_default()
    }

    /// `url` with the site's own origin by its logical name.
    pub(in crate::env::browser) fn logical(&self, url: &str) -> String {
        // `ws://host` is the socket of `http://host`, `wss://host` of `https://host`.
        match url.strip_prefix("ws") {
            Some(rest) if rest.starts_with("://") || rest.starts_with("s://") => {
                let page = rebase(&format!("http{rest}"), &self.origin.0, &self.origin.1);
                page.replacen("http", "ws", 1)
            }
            _ => rebase(url, &self.origin.0, &self.origin.1),
        }
    }

    /// Notes something about the site, met at a real URL; `what` says it with the logical URL, without
    /// query. Whether it is new.
    pub(in crate::env::browser) fn note(
        &self,
        kind: SiteNoteKind,
        url: &str,
        what: impl FnOnce(&str) -> String,
    ) -> bool {
        let url = self.logical(url);
        let bare = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        self.notes.add(kind, what(&shorten(bare, 200)))
    }

    /// A response without end is not kept.
    pub(super) fn endless(&self, log: &mut NetLog, network: &str, url: &str) {
        log.not_kept(network, MissReason::Stream);
        self.note(SiteNoteKind::Stream, url, |url| {
            format!("the response of {url} has no end (events, or media): {ONLY_REPLAY}")
        });
    }

    /// A response is awaited for so long already; what it comes to is kept if it ends.
    pub(super) fn unended(&self, url: &str, long: Duration) {
        self.note(SiteNoteKind::Stream, url, |url| {
            let seconds = long.as_secs();
            format!("the response of {url} had no end after {seconds} s: while that is so, {ONLY_REPLAY}")
        });
    }

    /// A response that is too large is not kept.
    pub(super) fn too_large(&self, log: &mut NetLog, network: &str, url: &str) {
        log.not_kept(network, MissReason::TooLarge);
        self.note(SiteNoteKind::TooLarge, url, |url| {
            let kib = self.limits.response >> 10;
            format!(
                "the response of {url} is larger than the {kib} KiB that are kept: {ONLY_REPLAY}"
            )
        });
    }

    /// Where a cookie of this domain belongs.
    pub(super) fn cookie_origin(&self, domain: &str) -> String {
        let host = domain.trim_start_matches('.');
        let (real, logical) = &self.origin;
        if host == self::host(real) {
            logical.clone()
        } else {
            format!("http://{host}")
        }
    }

    /// What a request is, by its logical URL.
    pub(super) fn class(&self, method: &str, url: &str, r#use: RequestUse) -> RequestClass {
        self.rules.class(method, url, &self.origin.1, r#use)
    }

    /// Text of a page, with the address of the site's server by the logical name.
    pub(in crate::env::browser) fn shown(&self, text: String) -> String {
        let (real, logical) = &self.origin;
        if real == logical {
            return text;
        }
        rehome::shown(&text, real, logical).unwrap_or(text)
    }

    /// `url` with the logical origin replaced by the real one.
    pub(in crate::env::browser) fn real(&self, url: &str) -> String {
        rebase(url, &self.origin.1, &self.origin.0)
    }
}

/// Host of an absolute URL, without port.
pub(super) fn host(url: &str) -> &str {
    let origin = ledger::origin(url);
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    match host.rsplit_once(':') {
        // `[::1]`: the last colon is inside the address.
        Some((name, port)) if !port.ends_with(']') => name,
        Some(_) | None => host,
    }
}

/// Whether a host is this machine or one of its own network.
pub(super) fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn rebase(url: &str, from: &str, to: &str) -> String {
    match url.strip_prefix(from) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => format!("{to}{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("http://127.0.0.1:80/x"), "127.0.0.1");
        assert_eq!(host("https://[::1]:80"), "[::1]");
        assert_eq!(host("https://[::1]"), "[::1]");
        for local in [
            "127.0.0.1",
            "localhost",
            "10.0.0.3",
            "192.168.1.1",
            "[::1]",
            "[fd00::1]",
        ] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "shop.example",
            "8.8.8.8",
            "[2001:db8::1]",
            "localhost.example",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn only_the_whole_origin_is_renamed() {
        let (real, logical) = ("http://127.0.0.1:80", "http://shop.demo");
        assert_eq!(
            rebase("http://127.0.0.1:80/cart", real, logical),
            "http://shop.demo/cart"
        );
        assert_eq!(
            rebase("http://127.0.0.1:8080/x", real, logical),
            "http://127.0.0.1:8080/x"
        );
        assert_eq!(
            rebase("http://127.0.0.1:80", real, logical),
            "http://shop.demo"
        );
    }
}
