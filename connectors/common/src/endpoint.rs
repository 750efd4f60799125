//! Addresses of far sides as configurations write them, read strictly.
//!
//! Must never take a user name or password from an address, nor quote one that may hold them.

use url::Url;

/// Reads one address, `SCHEME://HOST:PORT` and whatever follows. The empty scheme stands for none at all.
///
/// # Errors
/// One sentence that begins with the key: the address is no such thing, has another scheme, carries a user
/// name, a password or a fragment, has no host, one with odd characters, or port 0.
pub fn endpoint(key: &str, text: &str, schemes: &[&str], example: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err(format!("`{key}` is required: name an address, such as \"{example}\""));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if !schemes.contains(&scheme) {
        return Err(format!("`{key}`: it must begin as \"{example}\" does"));
    }
    if rest.split(['/', '?']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(format!("`{key}` must not carry a user, password or token: they have keys of their own"));
    }
    if rest.contains('#') {
        return Err(format!("`{key}` must not carry a fragment (`#`): it would never be sent"));
    }
    if rest.contains('\\') {
        return Err(format!("`{key}` must not carry `\\`: some would read it as `/`"));
    }
    // What stands in a path or query may be a secret.
    let shown = match rest.contains(['/', '?']) {
        true => String::new(),
        false => format!(" `{}`", rest.escape_debug()),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let scheme = if scheme.is_empty() { "tcp" } else { scheme };
    let url = Url::parse(&format!("{scheme}://{rest}")).ok().filter(|url| {
        url.host_str().is_some_and(|host| !host.is_empty() && host.chars().all(legal))
            && url.port() != Some(0)
    });
    url.ok_or_else(|| format!("`{key}`: the address{shown} is not like \"{example}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Url, String> {
        endpoint("servers", text, &["", "tls"], "127.0.0.1:4222")
    }

    #[test]
    fn hosts_and_ports_are_found() {
        for (text, scheme, host, port) in [
            ("127.0.0.1:4222", "tcp", "127.0.0.1", Some(4_222)),
            ("tls://nats.example.com", "tls", "nats.example.com", None),
            ("tls://[::1]:1/path?query@", "tls", "[::1]", Some(1)),
            ("under_score:65535", "tcp", "under_score", Some(65_535)),
        ] {
            let url = read(text).expect(text);
            assert_eq!((url.scheme(), url.host_str(), url.port()), (scheme, Some(host), port), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_secrets_are_not_quoted() {
        for bad in [
            "",
            "http://h",
            "tls://",
            "tls://planted:secret@h:1",
            "tls://h:1#planted",
            "tls://h\\planted",
            "tls://h:planted/planted",
            "tls://a planted/?planted",
            "h:0",
            "h:x",
            "h:70000",
            "h:1,g:1",
            "h,g:1",
            "a b",
            "[::zz]:1",
            "h\0:1",
            ":1",
        ] {
            let said = read(bad).expect_err(bad);
            assert!(said.starts_with("`servers`") && !said.contains("planted"), "{bad}: {said}");
        }
        assert!(read("h:x").expect_err("no port").contains("`h:x`"), "the one of many that is wrong");
    }
}
