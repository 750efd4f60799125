//! Who may enter: the `Host` check and the bearer token, decided in one place for every route.
//!
//! Must never look at a body, and must never tell more to somebody without the token than that a token is
//! missing.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};

use super::routes::Access;
use super::token::Token;

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It names a host that this listener does not serve: a browser may have been tricked into sending it.
    Host,
    /// No token, or a wrong one.
    Token,
}

/// Decides. `loopback` says that the listener itself is on a loopback address, where browsers of the same
/// machine can reach it under any name that somebody lets resolve there.
pub(super) fn admit(
    access: Access,
    loopback: bool,
    peer: SocketAddr,
    uri: &Uri,
    headers: &HeaderMap,
    token: &Token,
) -> Result<(), Denied> {
    let local_name = names_this_machine(access, uri, headers);
    if loopback && !local_name {
        return Err(Denied::Host);
    }
    let local = peer.ip().to_canonical().is_loopback() && local_name;
    match access {
        Access::OpenOnLoopback if local => Ok(()),
        // The signature says who it is.
        Access::Signed => Ok(()),
        Access::OpenOnLoopback | Access::Token => match bearer(headers) {
            Some(offered) if token.matches(offered) => Ok(()),
            _ => Err(Denied::Token),
        },
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// True if the request names `localhost` or a loopback address, with any port, and nothing else. Names that a
/// resolver decides about are not accepted: an address literal or `localhost` cannot be rebound.
///
/// Tencent Cloud's command line writes its whole `--endpoint` there, and signs it so.
fn names_this_machine(access: Access, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let named = |text: Option<&str>| text.is_some_and(is_loopback_name);
    let host = host.to_str().ok().map(|host| match access {
        Access::Signed => host.strip_prefix("http://").or(host.strip_prefix("https://")).unwrap_or(host),
        Access::Token | Access::OpenOnLoopback => host,
    });
    named(host) && uri.authority().is_none_or(|a| named(Some(a.as_str())))
}

fn is_loopback_name(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) => match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port_fits = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let address = host.parse::<IpAddr>();
    // An IPv6 address stands in brackets, an IPv4 address does not.
    let bracketed = authority.starts_with('[');
    let here = match address {
        Ok(ip) => ip.is_loopback() && ip.is_ipv6() == bracketed,
        Err(_) => !bracketed && host.eq_ignore_ascii_case("localhost"),
    };
    port_fits && here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_rebind_are_local() {
        for good in
            ["localhost", "LOCALHOST:9001", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9001", "127.9.9.9"]
        {
            assert!(is_loopback_name(good), "{good}");
        }
        let bad = [
            "",
            ":",
            "localhost:",
            "localhost:x",
            "localhost.",
            "localhost.evil.example",
            "evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "[localhost]",
            "localhost@evil.example",
            "127.1",
            "[::ffff:127.0.0.1]",
            "user@localhost",
        ];
        for bad in bad {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    #[test]
    fn one_bearer_header_counts() {
        let headers = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for v in values {
                map.append(AUTHORIZATION, v.parse().expect("a header value"));
            }
            map
        };
        assert_eq!(bearer(&headers(&["Bearer x"])), Some(&b"x"[..]));
        assert_eq!(bearer(&headers(&["bearer x"])), Some(&b"x"[..]));
        assert_eq!(bearer(&headers(&[])), None);
        assert_eq!(bearer(&headers(&["Basic x"])), None);
        assert_eq!(bearer(&headers(&["Bear"])), None);
        assert_eq!(bearer(&headers(&["Bearer x", "Bearer y"])), None);
    }
}
