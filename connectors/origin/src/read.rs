//! Rules out of a document's elements.
//!
//! Must never take a word that it does not understand, nor one that would send a client's credentials away.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use tidings_common::refusal;

use crate::ask::may_travel;
use crate::rules::{File, Kind, Protocol, Rule, RuleError};
use crate::xml::Element;

/// The most headers of each kind.
const MAX_HEADERS: usize = 10;
/// The most hosts that stand by.
const MAX_STANDBY: usize = 10;
/// The longest text of a rule, in bytes.
const MAX_TEXT: usize = 1_024;

/// A document says something that may not be.
pub(crate) fn invalid(what: impl Into<String>) -> RuleError {
    RuleError::Invalid(what.into())
}

/// One rule; `at`: how many came before it.
pub(crate) fn rule(element: &Element, at: usize, allow_private: bool) -> Result<Rule, RuleError> {
    let mut rule = Rule {
        priority: u32::try_from(at + 1).unwrap_or(u32::MAX),
        kind: Kind::Mirror,
        prefix: String::new(),
        suffix: String::new(),
        protocol: Protocol::Http,
        follow_query: false,
        transparent_errors: false,
        follow_redirects: false,
        redirect_code: 302,
        follow_headers: Vec::new(),
        follow_all_headers: false,
        new_headers: Vec::new(),
        hosts: Vec::new(),
        file: File::Key { prefix: String::new(), suffix: String::new() },
    };
    let mut kind = None;
    for child in &element.children {
        match child.name.as_str() {
            "RulePriority" => rule.priority = number(child)?,
            "OriginType" => kind = Some(kind_of(child)?),
            "OriginCondition" => condition(&mut rule, child)?,
            "OriginParameter" => parameter(&mut rule, child)?,
            "OriginInfo" => info(&mut rule, child, allow_private)?,
            _ => return Err(unknown(child)),
        }
    }
    rule.kind = kind.ok_or(RuleError::Malformed)?;
    if rule.hosts.is_empty() {
        return Err(invalid("an origin rule needs a HostName"));
    }
    Ok(rule)
}

fn unknown(element: &Element) -> RuleError {
    let name: String = element.name.chars().take(64).collect();
    RuleError::NotImplemented(format!("{name} of an origin rule"))
}

fn number(element: &Element) -> Result<u32, RuleError> {
    element.text.trim().parse().map_err(|_| RuleError::Malformed)
}

fn flag(element: &Element) -> Result<bool, RuleError> {
    match element.text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(RuleError::Malformed),
    }
}

fn text(element: &Element) -> Result<String, RuleError> {
    if element.text.len() > MAX_TEXT || element.text.chars().any(char::is_control) {
        return Err(invalid(format!("{} is too long or no text", element.name)));
    }
    Ok(element.text.clone())
}

fn kind_of(element: &Element) -> Result<Kind, RuleError> {
    match element.text.trim() {
        "Mirror" => Ok(Kind::Mirror),
        "Proxy" => Ok(Kind::Proxy),
        "Redirect" => Ok(Kind::Redirect),
        _ => Err(RuleError::Malformed),
    }
}

fn condition(rule: &mut Rule, element: &Element) -> Result<(), RuleError> {
    for child in &element.children {
        match child.name.as_str() {
            "HTTPStatusCode" if child.text.trim() == "404" => {}
            "HTTPStatusCode" => {
                return Err(RuleError::NotImplemented("an origin for another status than 404".to_owned()));
            }
            "Prefix" => rule.prefix = text(child)?,
            "Suffix" => rule.suffix = text(child)?,
            _ => return Err(unknown(child)),
        }
    }
    Ok(())
}

fn parameter(rule: &mut Rule, element: &Element) -> Result<(), RuleError> {
    for child in &element.children {
        match child.name.as_str() {
            "Protocol" => {
                rule.protocol = match child.text.trim() {
                    "HTTP" => Protocol::Http,
                    "HTTPS" => Protocol::Https,
                    "FOLLOW" => Protocol::Follow,
                    _ => return Err(RuleError::Malformed),
                }
            }
            "TransparentErrorCode" => rule.transparent_errors = flag(child)?,
            "FollowQueryString" => rule.follow_query = flag(child)?,
            "FollowRedirection" => rule.follow_redirects = flag(child)?,
            "HttpRedirectCode" => {
                rule.redirect_code = match child.text.trim() {
                    "301" => 301,
                    "302" => 302,
                    "307" => 307,
                    _ => return Err(invalid("HttpRedirectCode is 301, 302 or 307")),
                }
            }
            "HttpHeader" => headers(rule, child)?,
            _ => return Err(unknown(child)),
        }
    }
    Ok(())
}

fn headers(rule: &mut Rule, element: &Element) -> Result<(), RuleError> {
    for child in &element.children {
        let pairs = || child.children.iter().filter(|header| header.name == "Header");
        match child.name.as_str() {
            "FollowAllHeaders" => rule.follow_all_headers = flag(child)?,
            "FollowHttpHeaders" => {
                for header in pairs() {
                    rule.follow_headers.push(header_name(header)?);
                }
            }
            "NewHttpHeaders" => {
                for header in pairs() {
                    let name = header_name(header)?;
                    let value = header.children.iter().find(|child| child.name == "Value");
                    let value = value.map(text).transpose()?.unwrap_or_default();
                    let value = HeaderValue::from_str(&value);
                    rule.new_headers.push((name, value.map_err(|_| invalid("a header's value is no text"))?));
                }
            }
            _ => return Err(unknown(child)),
        }
    }
    if rule.follow_headers.len() > MAX_HEADERS || rule.new_headers.len() > MAX_HEADERS {
        return Err(invalid(format!("an origin rule has at most {MAX_HEADERS} headers of each kind")));
    }
    Ok(())
}

fn header_name(header: &Element) -> Result<HeaderName, RuleError> {
    let key = header.children.iter().find(|child| child.name == "Key").ok_or(RuleError::Malformed)?;
    let name = HeaderName::from_bytes(key.text.trim().as_bytes());
    let name = name.map_err(|_| invalid("a header's key is no header's name"))?;
    if may_travel(&name) {
        return Ok(name);
    }
    Err(invalid(format!("the header {name} does not go to an origin")))
}

fn info(rule: &mut Rule, element: &Element, allow_private: bool) -> Result<(), RuleError> {
    let (mut prefix, mut suffix, mut fixed) = (String::new(), String::new(), None);
    for child in &element.children {
        match child.name.as_str() {
            "HostInfo" => hosts(rule, child, allow_private)?,
            "FileInfo" => {
                for part in &child.children {
                    let value = match part.children.as_slice() {
                        [] => text(part)?,
                        [value] => text(value)?,
                        _ => return Err(RuleError::Malformed),
                    };
                    match part.name.as_str() {
                        "Prefix" | "PrefixConfiguration" => prefix = value,
                        "Suffix" | "SuffixConfiguration" => suffix = value,
                        "FixedFileConfiguration" => fixed = Some(value),
                        _ => return Err(unknown(part)),
                    }
                }
            }
            _ => return Err(unknown(child)),
        }
    }
    rule.file = match fixed {
        Some(_) if !prefix.is_empty() || !suffix.is_empty() => {
            return Err(invalid("a fixed file has neither prefix nor suffix"));
        }
        Some(fixed) => File::Fixed(fixed),
        None => File::Key { prefix, suffix },
    };
    Ok(())
}

fn hosts(rule: &mut Rule, element: &Element, allow_private: bool) -> Result<(), RuleError> {
    for child in &element.children {
        let standby = child.name.strip_prefix("StandbyHostName_").map(|n| n.parse::<usize>());
        match (child.name.as_str(), standby) {
            ("HostName", _) | (_, Some(Ok(1..=MAX_STANDBY))) => {
                rule.hosts.push(host(&text(child)?, allow_private)?);
            }
            // There is one first host: nothing to weigh.
            ("Weight", _) => drop(number(child)?),
            _ => return Err(unknown(child)),
        }
    }
    if rule.hosts.len() > 1 + MAX_STANDBY {
        return Err(invalid(format!("an origin has one host and at most {MAX_STANDBY} that stand by")));
    }
    Ok(())
}

/// `HOST` or `HOST:PORT`, as a URL's parser reads it.
fn host(text: &str, allow_private: bool) -> Result<String, RuleError> {
    let text = text.trim();
    let bad = || invalid("a HostName is HOST or HOST:PORT");
    if text.is_empty() || text.contains(['/', '@', '?', '#', '\\', ' ', '%']) {
        return Err(bad());
    }
    let url = crate::Url::parse(&format!("http://{text}/")).map_err(|_| bad())?;
    let Some(host) = url.host_str().filter(|_| url.path() == "/") else { return Err(bad()) };
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if let Some(why) = ip.and_then(|ip| refusal(ip, allow_private)) {
        return Err(invalid(format!("{host} may not be called: {why}")));
    }
    Ok(text.to_owned())
}
