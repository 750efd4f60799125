//! Rules as a document: what is shown of what was put.
//!
//! Must never write text that would not come back as it was.

use std::fmt::Write as _;

use crate::rules::{File, Kind, Protocol, Rule};
use crate::xml;

/// Appends a rule.
pub(crate) fn write_rule(out: &mut String, rule: &Rule) {
    let kind = match rule.kind {
        Kind::Mirror => "Mirror",
        Kind::Proxy => "Proxy",
        Kind::Redirect => "Redirect",
    };
    let protocol = match rule.protocol {
        Protocol::Http => "HTTP",
        Protocol::Https => "HTTPS",
        Protocol::Follow => "FOLLOW",
    };
    let _ = write!(
        out,
        "<OriginRule><RulePriority>{}</RulePriority><OriginType>{kind}</OriginType><OriginCondition>\
         <HTTPStatusCode>404</HTTPStatusCode>",
        rule.priority
    );
    put(out, "Prefix", &rule.prefix);
    if !rule.suffix.is_empty() {
        put(out, "Suffix", &rule.suffix);
    }
    let _ = write!(
        out,
        "</OriginCondition><OriginParameter><Protocol>{protocol}</Protocol><TransparentErrorCode>{}\
         </TransparentErrorCode><FollowQueryString>{}</FollowQueryString><HttpHeader><FollowAllHeaders>{}\
         </FollowAllHeaders><NewHttpHeaders>",
        rule.transparent_errors, rule.follow_query, rule.follow_all_headers
    );
    for (name, value) in &rule.new_headers {
        out.push_str("<Header>");
        put(out, "Key", name.as_str());
        put(out, "Value", value.to_str().unwrap_or_default());
        out.push_str("</Header>");
    }
    out.push_str("</NewHttpHeaders><FollowHttpHeaders>");
    for name in &rule.follow_headers {
        out.push_str("<Header>");
        put(out, "Key", name.as_str());
        out.push_str("</Header>");
    }
    let _ = write!(
        out,
        "</FollowHttpHeaders></HttpHeader><FollowRedirection>{}</FollowRedirection><HttpRedirectCode>{}\
         </HttpRedirectCode></OriginParameter><OriginInfo><HostInfo>",
        rule.follow_redirects, rule.redirect_code
    );
    for (at, host) in rule.hosts.iter().enumerate() {
        match at {
            0 => put(out, "HostName", host),
            _ => put(out, &format!("StandbyHostName_{at}"), host),
        }
    }
    out.push_str("</HostInfo><FileInfo>");
    match &rule.file {
        File::Fixed(path) => {
            out.push_str("<FixedFileConfiguration>");
            put(out, "FixedFilePath", path);
            out.push_str("</FixedFileConfiguration>");
        }
        File::Key { prefix, suffix } => {
            out.push_str("<PrefixConfiguration>");
            put(out, "Prefix", prefix);
            out.push_str("</PrefixConfiguration><SuffixConfiguration>");
            put(out, "Suffix", suffix);
            out.push_str("</SuffixConfiguration>");
        }
    }
    out.push_str("</FileInfo></OriginInfo></OriginRule>");
}

fn put(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "<{name}>");
    xml::escape(out, value);
    let _ = write!(out, "</{name}>");
}
