//! What a host name says: one of our buckets, us without a bucket, or somebody else's region.
//!
//! Must never take a name of COS's that is not of our region for a path-style host: its path would then begin
//! with a bucket that nobody named.

use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};

/// The domains below which COS has its hosts.
const COS_DOMAINS: [&str; 2] = ["myqcloud.com", "tencentcos.cn"];

/// The hosts that are ours.
pub(super) struct Hosts {
    /// Below each of these a name is a bucket; in lower case.
    domains: Vec<String>,
}

/// What one host is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// This bucket's.
    Bucket(String),
    /// One of ours, of no bucket.
    Ours,
    /// One of COS's that has another region, or means something else.
    Elsewhere,
    /// An address, or a name that we do not know: path style.
    Unknown,
}

impl Hosts {
    /// The hosts of a server with `domain`, if it has one, in `region`.
    pub(super) fn new(domain: Option<&str>, region: &str) -> Self {
        let own = domain.map(str::to_ascii_lowercase);
        let of_cos = COS_DOMAINS.map(|domain| format!("cos.{}.{domain}", region.to_ascii_lowercase()));
        Self { domains: own.into_iter().chain(of_cos).collect() }
    }

    /// What `host`, with or without a port, is.
    pub(super) fn named(&self, host: &str) -> Named {
        let name = without_port(host).to_ascii_lowercase();
        for domain in &self.domains {
            match name.strip_suffix(domain.as_str()) {
                Some("") => return Named::Ours,
                Some(rest) => match rest.strip_suffix('.') {
                    Some(bucket) if !bucket.is_empty() => return Named::Bucket(bucket.to_owned()),
                    _ => {}
                },
                None => {}
            }
        }
        let below = |domain| name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
        match COS_DOMAINS.into_iter().find_map(below) {
            Some("service.cos") => Named::Ours,
            Some(_) => Named::Elsewhere,
            None => Named::Unknown,
        }
    }

    /// The bucket that `host` names.
    pub(super) fn bucket(&self, host: &str) -> Option<String> {
        match self.named(host) {
            Named::Bucket(bucket) => Some(bucket),
            Named::Ours | Named::Elsewhere | Named::Unknown => None,
        }
    }
}

/// `host` without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let here = VirtualHost::new(self.domains[0].as_str());
        match self.named(host) {
            Named::Bucket(bucket) => Ok(here.with_bucket(bucket)),
            Named::Ours | Named::Unknown => Ok(here),
            Named::Elsewhere => Err(s3_error!(InvalidRequest, "This host is of another region or service.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_our_domains_are_buckets() {
        let hosts = Hosts::new(Some("S3.example.com"), "ap-guangzhou");
        let bucket = |name: &str| Named::Bucket(name.to_owned());
        for (host, named) in [
            ("b-1250000000.s3.example.com", bucket("b-1250000000")),
            ("a.b.S3.example.com:9000", bucket("a.b")),
            ("s3.example.com:9000", Named::Ours),
            (".s3.example.com", Named::Unknown),
            ("xs3.example.com", Named::Unknown),
            ("b-1250000000.cos.ap-guangzhou.myqcloud.com", bucket("b-1250000000")),
            ("B-1250000000.COS.ap-guangzhou.tencentcos.cn:80", bucket("b-1250000000")),
            ("cos.ap-guangzhou.myqcloud.com", Named::Ours),
            ("service.cos.myqcloud.com", Named::Ours),
            ("service.cos.tencentcos.cn", Named::Ours),
            ("b-1250000000.cos.ap-beijing.myqcloud.com", Named::Elsewhere),
            ("cos.ap-beijing.myqcloud.com", Named::Elsewhere),
            (".cos.ap-guangzhou.myqcloud.com", Named::Elsewhere),
            ("cos.ap-guangzhou.myqcloud.com.example.org", Named::Unknown),
            ("localhost:9000", Named::Unknown),
            ("[::1]:9000", Named::Unknown),
        ] {
            assert_eq!(hosts.named(host), named, "{host}");
        }
        assert!(hosts.parse_host_header("cos.ap-beijing.myqcloud.com").is_err());
        let parsed = hosts.parse_host_header("a.s3.example.com").expect("ours");
        assert_eq!(parsed.bucket(), Some("a"));
    }
}
