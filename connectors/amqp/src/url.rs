//! `amqp://HOST:PORT/VHOST`, read strictly.
//!
//! Must never take a user name or password from a URL, nor quote one that holds them.

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
}

impl Address {
    /// Reads a URL. `Err` is one sentence that begins with the key.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.is_empty() {
            return Err(
                "`url` is required: name the broker, such as \"amqp://127.0.0.1:5672/%2f\"".to_owned()
            );
        }
        let (tls, rest) = match url.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            _ => return Err("`url`: it must begin with amqp:// or amqps://".to_owned()),
        };
        if rest.contains('@') {
            return Err(
                "`url` must not carry a user name or password: use `username` and `password_file`".into()
            );
        }
        if rest.contains(['?', '#']) {
            return Err("`url` must not carry options (`?`) or a fragment (`#`)".to_owned());
        }
        let (authority, vhost) = match rest.split_once('/') {
            None => (rest, "/".to_owned()),
            Some((authority, path)) => (authority, vhost(path)?),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|port| *port != 0)),
            _ => (authority, Some(if tls { 5_671 } else { 5_672 })),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok().map(|_| v6),
            None => (!host.is_empty() && host.chars().all(legal)).then_some(host),
        };
        match (host, port) {
            (Some(host), Some(port)) => Ok(Self { tls, host: host.to_owned(), port, vhost }),
            _ => Err(
                "`url` needs a host, and a port if it is another one, such as \"amqp://127.0.0.1:5672/%2f\""
                    .into(),
            ),
        }
    }
}

/// The virtual host as the URL's path writes it.
fn vhost(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err(
            "`url` ends with `/`, which names no virtual host: write `/%2f` for the default one".into()
        );
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| digit.and_then(|d| char::from(d).to_digit(16));
        bytes.push(match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err("`url`: `%` must be followed by two hexadecimal digits".to_owned()),
            },
            b'/' => return Err("`url`: write a `/` inside the virtual host's name as `%2f`".to_owned()),
            other => other,
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|vhost| vhost.len() <= 255 && !vhost.chars().any(char::is_control))
        .ok_or_else(|| {
            "`url`: a virtual host's name is UTF-8 of at most 255 bytes, without control characters".into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at = |tls, host: &str, port, vhost: &str| Address {
            tls,
            host: host.into(),
            port,
            vhost: vhost.into(),
        };
        for (url, expected) in [
            ("amqp://127.0.0.1", at(false, "127.0.0.1", 5_672, "/")),
            ("amqp://127.0.0.1:46721/%2f", at(false, "127.0.0.1", 46_721, "/")),
            ("amqps://mq.example.com/events", at(true, "mq.example.com", 5_671, "events")),
            ("amqp://[::1]:1/a%20%c3%a9", at(false, "::1", 1, "a é")),
            ("amqp://[::1]", at(false, "::1", 5_672, "/")),
        ] {
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn bad_urls_are_refused_and_not_quoted() {
        for bad in [
            "",
            "127.0.0.1:5672",
            "http://127.0.0.1",
            "amqp://guest:planted@127.0.0.1/",
            "amqp://planted@h",
            "amqp://h/v?password=planted",
            "amqp://h/v#planted",
            "amqp://h/",
            "amqp://h/a/b",
            "amqp://h/%zz",
            "amqp://h/%f",
            "amqp://h/%ff",
            "amqp://h/%00",
            "amqp://",
            "amqp://h:0",
            "amqp://h:x",
            "amqp://h:70000",
            "amqp://[::zz]",
            "amqp://a b",
        ] {
            let said = Address::parse(bad).expect_err(bad);
            assert!(said.starts_with("`url`") && !said.contains("planted"), "{bad}: {said}");
        }
        assert!(Address::parse(&format!("amqp://h/{}", "v".repeat(256))).is_err());
    }
}
