//! The last gate of a browser.
//!
//! A lane's sessions see requests close to the page. When a tab or a frame closes, its session ends,
//! and what it had stopped, or what the page sends while it closes, goes on unseen. The browser itself
//! therefore stops every request once more, nearer to the network: a write that no lane has let pass is
//! told to the lanes and, where writes are held, goes no further.

use std::collections::VecDeque;

use serde::Deserialize;

/// A request that a lane lets pass, by the browser's id, method and URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// Empty where the browser gave none.
    pub network: String,
    pub method: String,
    pub url: String,
}

/// Requests that never came to the gate are forgotten after so many others.
const MAX_PASSES: usize = 256;

/// What lanes let pass and the gate has not seen yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Whether writes are held.
    holds: bool,
    passes: VecDeque<Pass>,
}

/// What becomes of a request at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Known,
    /// It goes on, and no lane has seen it.
    Unseen,
    /// It is stopped, and no lane has let it pass.
    Stopped,
}

/// A request at the gate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AtGate {
    pub request_id: String,
    #[serde(default)]
    network_id: String,
    request: AtGateRequest,
}

#[derive(Debug, Deserialize)]
struct AtGateRequest {
    url: String,
    method: String,
}

impl Gate {
    /// Whether writes that no lane let pass are stopped from now on.
    pub(super) fn hold(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// A lane lets a write pass.
    pub(super) fn pass(&mut self, pass: Pass) {
        if self.passes.len() >= MAX_PASSES {
            self.passes.pop_front();
        }
        self.passes.push_back(pass);
    }

    /// What becomes of a request.
    pub(super) fn judge(&mut self, request: &AtGate) -> Verdict {
        if matches!(request.request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            // What a lane wants to hold of these, its session stops; a page that is gone reads nothing.
            return Verdict::Known;
        }
        let meant = |pass: &Pass| {
            pass.network == request.network_id
                && pass.method == request.request.method
                && pass.url == request.request.url
        };
        match self.passes.iter().position(meant) {
            Some(at) => {
                self.passes.remove(at);
                Verdict::Known
            }
            None if self.holds => Verdict::Stopped,
            None => Verdict::Unseen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(network: &str, method: &str, url: &str) -> AtGate {
        AtGate {
            request_id: "1".to_owned(),
            network_id: network.to_owned(),
            request: AtGateRequest {
                url: url.to_owned(),
                method: method.to_owned(),
            },
        }
    }

    #[test]
    fn a_write_passes_once_and_only_if_a_lane_said_so() {
        for (holds, otherwise) in [(true, Verdict::Stopped), (false, Verdict::Unseen)] {
            let mut gate = Gate::default();
            gate.hold(holds);
            let mut judge = |network, method, url| gate.judge(&request(network, method, url));
            assert_eq!(judge("a", "GET", "/x"), Verdict::Known);
            assert_eq!(judge("a", "POST", "/x"), otherwise);
            gate.pass(Pass {
                network: "a".to_owned(),
                method: "POST".to_owned(),
                url: "/x".to_owned(),
            });
            let mut judge = |network, method, url| gate.judge(&request(network, method, url));
            assert_eq!(judge("b", "POST", "/x"), otherwise);
            assert_eq!(judge("a", "POST", "/y"), otherwise);
            assert_eq!(judge("a", "POST", "/x"), Verdict::Known);
            assert_eq!(judge("a", "POST", "/x"), otherwise);
        }
    }
}
