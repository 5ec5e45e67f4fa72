//! The last gate of a browser whose writes are held.
//!
//! A lane's sessions stop requests close to the page. When a tab or a frame closes, its session ends,
//! and what it had stopped, or what the page sends while it closes, would go on. The browser itself
//! therefore stops every request once more, nearer to the network: a write passes only if a lane has
//! let it pass.

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
    passes: VecDeque<Pass>,
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
    /// A lane lets a write pass.
    pub(super) fn pass(&mut self, pass: Pass) {
        if self.passes.len() >= MAX_PASSES {
            self.passes.pop_front();
        }
        self.passes.push_back(pass);
    }

    /// Whether a request may go on.
    pub(super) fn opens(&mut self, request: &AtGate) -> bool {
        if matches!(request.request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            // What a lane wants to hold of these, its session stops; a page that is gone reads nothing.
            return true;
        }
        let meant = |pass: &Pass| {
            pass.network == request.network_id
                && pass.method == request.request.method
                && pass.url == request.request.url
        };
        let at = self.passes.iter().position(meant);
        if let Some(at) = at {
            self.passes.remove(at);
        }
        at.is_some()
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
        let mut gate = Gate::default();
        assert!(gate.opens(&request("a", "GET", "/x")));
        assert!(!gate.opens(&request("a", "POST", "/x")));
        gate.pass(Pass {
            network: "a".to_owned(),
            method: "POST".to_owned(),
            url: "/x".to_owned(),
        });
        assert!(!gate.opens(&request("b", "POST", "/x")));
        assert!(!gate.opens(&request("a", "POST", "/y")));
        assert!(gate.opens(&request("a", "POST", "/x")));
        assert!(!gate.opens(&request("a", "POST", "/x")));
    }
}
