//! What may be reached: hosts, methods, addresses.
//!
//! Names are resolved here and nowhere else: an address that is not public is refused where the
//! registry does not allow it, whatever name led to it, at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::env::tools::registry::Allow;

/// Names that are refused resolve to this error.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{host}` is the private address {address}: put `allow = {{ private = true }}` in the source to reach it"
)]
pub(super) struct PrivateAddress {
    host: String,
    address: IpAddr,
}

/// Resolves names, without addresses that are not public.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (private, public): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.partition(|address| is_private(address.ip()));
            match (public.is_empty(), private.first()) {
                (true, Some(address)) => Err(PrivateAddress {
                    host: name.as_str().to_owned(),
                    address: address.ip(),
                }
                .into()),
                _ => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address is loopback, private, link-local or otherwise not of the public internet.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_4(v4),
            None => is_private_6(v6),
        },
    }
}

fn is_private_4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, benchmarking, protocol assignments.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || v4.octets().starts_with(&[192, 0, 0])
}

fn is_private_6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    let embedded = {
        let [.., high, low] = v6.segments();
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || first & 0xfe00 == 0xfc00
        || first & 0xffc0 == 0xfe80
        // NAT64 and the deprecated IPv4-compatible form lead to an IPv4 address.
        || ((first, second) == (0x64, 0xff9b) && is_private_4(embedded))
        || (v6.segments()[..6] == [0; 6] && is_private_4(embedded))
}

/// Why a request may not be sent: which rule, and what would allow it.
///
/// `base` is the tool's own base URL: its host is allowed where the registry lists none.
pub(super) fn forbids(allow: &Allow, base: &str, method: &str, url: &Url) -> Option<String> {
    if !allow.methods.is_empty() && !allow.methods.iter().any(|allowed| allowed == method) {
        let allowed = allow.methods.join(", ");
        return Some(format!(
            "the method {method} is not among `allow.methods` ({allowed})"
        ));
    }
    forbids_url(allow, base, url)
}

/// The part of [`forbids`] that redirects are held to as well.
pub(super) fn forbids_url(allow: &Allow, base: &str, url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some(format!("`{}` is neither http nor https", url.scheme()));
    }
    let Some(host) = url.host() else {
        return Some("the URL has no host".to_owned());
    };
    let name = host.to_string().to_ascii_lowercase();
    if allow.hosts.is_empty() {
        let base = Url::parse(base).ok();
        let same = base.as_ref().is_some_and(|base| {
            base.host() == url.host() && base.port_or_known_default() == url.port_or_known_default()
        });
        let base = base.and_then(|base| base.host().map(|host| host.to_string()));
        if !same {
            return Some(format!(
                "`{name}` is not the host of its base URL ({}): list it in `allow.hosts` to reach it",
                base.unwrap_or_default()
            ));
        }
    } else if !allow.hosts.iter().any(|pattern| host_fits(pattern, &name)) {
        return Some(format!(
            "`{name}` is not among `allow.hosts` ({})",
            allow.hosts.join(", ")
        ));
    }
    let address = match host {
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        Host::Domain(_) => None,
    };
    match address {
        Some(address) if !allow.private && is_private(address) => Some(
            PrivateAddress {
                host: name,
                address,
            }
            .to_string(),
        ),
        _ => None,
    }
}

fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(domain)
            .is_some_and(|before| before.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "::7f00:1",
            "198.18.0.1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.0.1",
            "2606:4700::1",
            "64:ff9b::808:808",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn rules_say_what_would_allow_it() {
        let url = |text: &str| Url::parse(text).unwrap();
        let base = "https://api.example.com/v1";
        let none = Allow::default();
        let why =
            |allow: &Allow, text: &str| forbids(allow, base, "GET", &url(text)).unwrap_or_default();
        assert_eq!(why(&none, "https://api.example.com/v1/x"), "");
        insta::assert_snapshot!(why(&none, "https://evil.example/x"), @"`evil.example` is not the host of its base URL (api.example.com): list it in `allow.hosts` to reach it");
        insta::assert_snapshot!(why(&none, "https://api.example.com:8443/x"), @"`api.example.com` is not the host of its base URL (api.example.com): list it in `allow.hosts` to reach it");
        let some = Allow {
            hosts: vec!["*.example.com".to_owned(), "10.0.0.1".to_owned()],
            methods: vec!["POST".to_owned()],
            private: false,
        };
        insta::assert_snapshot!(why(&some, "https://a.example.com/"), @"the method GET is not among `allow.methods` (POST)");
        let post = |text: &str| forbids(&some, base, "POST", &url(text)).unwrap_or_default();
        assert_eq!(post("https://a.b.example.com/"), "");
        insta::assert_snapshot!(post("https://example.com/"), @"`example.com` is not among `allow.hosts` (*.example.com, 10.0.0.1)");
        insta::assert_snapshot!(post("http://10.0.0.1/"), @"`10.0.0.1` is the private address 10.0.0.1: put `allow = { private = true }` in the source to reach it");
    }
}
