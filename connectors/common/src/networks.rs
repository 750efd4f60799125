//! Which addresses may be called where users of the API name them: public ones, and those of networks that
//! the operator listed.
//!
//! Must never let a list allow what is never called: link-local addresses and clouds' metadata services.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use tidings_connector::ErrorClass;

use crate::addresses::{choose, refusal};
use crate::lookup::look_up;
use crate::{Verdict, judge};

/// Ports of services that take commands in lines, and a request with them for one: nobody but the operator
/// may have them called.
pub const NEVER_PORTS: &[u16] = &[19, 22, 23, 25, 110, 143, 465, 587, 993, 995, 3306, 5432, 6379, 11_211];

/// A network: an address, and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    fn holds(self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| match width - u32::from(self.bits) {
            128 => true,
            rest => a >> rest == b >> rest,
        };
        match (self.first, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            _ => false,
        }
    }
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no = || format!("`{}` is no network such as 10.0.0.0/8", text.escape_debug());
        let (first, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let first: IpAddr = first.parse().map_err(|_| no())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| no()))?;
        let network = Self { first, bits };
        let zeros = match first {
            IpAddr::V4(ip) => u32::from(ip).trailing_zeros(),
            IpAddr::V6(ip) => u128::from(ip).trailing_zeros(),
        };
        match bits <= most && u32::from(most - bits) <= zeros {
            true => Ok(network),
            false => Err(no()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Looks names up and leaves out what may not be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// What the configuration's file names: private and loopback addresses may be called, if it says so.
    Operator {
        /// It says so.
        allow_private: bool,
    },
    /// What anybody else names: public addresses, and these networks.
    Listed(Arc<[Network]>),
}

impl Reach {
    /// Why an address may not be called; none if it may.
    pub fn refusal(&self, ip: IpAddr) -> Option<&'static str> {
        match self {
            Self::Operator { allow_private } => refusal(ip, *allow_private),
            Self::Listed(networks) => match refusal(ip, false) {
                // A mapped address is the address that it maps; any other embedding is not.
                Some(_) if networks.iter().any(|network| network.holds(ip.to_canonical())) => {
                    refusal(ip, true)
                }
                // The words speak of an option that such a user has not.
                Some(_) if refusal(ip, true).is_none() => {
                    Some("`functions.allow_addresses` does not list it")
                }
                judged => judged,
            },
        }
    }

    /// As [`Reach::of`], of a host as URLs write it.
    ///
    /// # Errors
    /// What the failure means, and why, for people.
    pub async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, (Verdict, String)> {
        let found = self.of(host.trim_matches(['[', ']']), port).await;
        found.map_err(|e| (judge(&e).unwrap_or(Verdict::Retry(ErrorClass::Dns)), e.to_string()))
    }

    /// The addresses of a host, a name or itself an address, that may be called. The caller bounds the time.
    ///
    /// # Errors
    /// The name is not known; an error that holds [`crate::Blocked`] if it has only addresses that may
    /// not be called.
    pub async fn of(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        choose(host, look_up(host, port).await?.into_iter(), |ip| self.refusal(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(networks: &[&str]) -> Reach {
        Reach::Listed(networks.iter().map(|text| text.parse().expect(text)).collect())
    }

    fn may(reach: &Reach, ip: &str) -> bool {
        reach.refusal(ip.parse().expect(ip)).is_none()
    }

    #[test]
    fn a_list_opens_its_networks_and_nothing_else() {
        let reach = listed(&["10.1.0.0/16", "127.0.0.1", "fd00::/8"]);
        for ip in ["10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "fd12::1", "8.8.8.8", "2606:4700::1111"] {
            assert!(may(&reach, ip), "{ip}");
        }
        for ip in
            ["10.2.0.1", "127.0.0.2", "fc00::1", "::1", "64:ff9b::10.1.2.3", "2002:a01:203::", "::10.1.2.3"]
        {
            assert!(!may(&reach, ip), "{ip}");
        }
    }

    #[test]
    fn no_list_opens_what_is_never_called() {
        let reach = listed(&["0.0.0.0/0", "::/0"]);
        for ip in ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fe80::1", "0.0.0.0", "224.0.0.1"] {
            assert!(!may(&reach, ip), "{ip}");
        }
        assert!(may(&reach, "10.0.0.1") && may(&reach, "::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in
            ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "a", "10/8", "fd00::/129", "::1/0"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().expect("one").to_string(), "10.0.0.0/8");
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let refused = listed(&["10.0.0.0/8"]).of("localhost", 80).await.expect_err("loopback");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(refused.to_string().contains("allow_addresses"), "{refused}");
        assert!(!listed(&["127.0.0.0/8", "::1"]).of("localhost", 80).await.expect("listed").is_empty());
    }
}
