//! Which addresses may be called, judged on the address that is dialled.
//!
//! Must never let a name stand for its address: what it resolved to a moment ago says nothing about now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A name has no address that may be called.
#[derive(Debug)]
pub struct Blocked(String);

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Blocked {}

/// Leaves out what `judge` refuses.
pub(crate) fn choose(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
    judge: impl Fn(IpAddr) -> Option<&'static str>,
) -> io::Result<Vec<SocketAddr>> {
    let mut refused = None;
    let mut may = |address: &SocketAddr| match judge(address.ip()) {
        None => true,
        Some(why) => {
            refused.get_or_insert((address.ip(), why));
            false
        }
    };
    let allowed: Vec<_> = found.filter(|address| may(address)).collect();
    match refused {
        Some((ip, why)) if allowed.is_empty() => {
            let text = format!("{host} is {ip}, which may not be called: {why}");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, Blocked(text)))
        }
        _ => Ok(allowed),
    }
}

/// True if what is sent to this host, a name or an address, does not leave the machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Why an address may not be called; `None` if it may.
///
/// Some are refused whatever the configuration says: nothing that takes events listens there, but services
/// that hand out a cloud machine's credentials.
pub fn refusal(ip: IpAddr, allow_private: bool) -> Option<&'static str> {
    let v4 = match ip {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => match embedded(v6) {
            // Only a translator of this network makes sense of such an address.
            Some(_) if tunnelled(v6) && !allow_private => return Some("it leads into another network"),
            Some(v4) => v4,
            None => return of_v6(v6, allow_private),
        },
    };
    of_v4(v4, allow_private)
}

fn of_v4(ip: Ipv4Addr, allow_private: bool) -> Option<&'static str> {
    match ip.octets() {
        [169, 254, _, _] => Some("it is link-local, where cloud machines find their credentials"),
        [100, 100, 100, 200] | [192, 0, 0, 192] => Some("a cloud's metadata service is there"),
        [0, _, _, _] => Some("it is unspecified"),
        [224..=239, _, _, _] => Some("it is multicast"),
        [240..=255, _, _, _] => Some("it is reserved"),
        _ if allow_private => None,
        [127, _, _, _] => Some("it is loopback, and `allow_private` is false"),
        [10, _, _, _] | [172, 16..=31, _, _] | [192, 168, _, _] | [100, 64..=127, _, _] => {
            Some("it is private, and `allow_private` is false")
        }
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, _, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some("it is not public, and `allow_private` is false"),
        _ => None,
    }
}

/// Metadata services among the private addresses: of Amazon's and of Google's clouds.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn of_v6(ip: Ipv6Addr, allow_private: bool) -> Option<&'static str> {
    let public = matches!(ip.segments(), [0x2000..=0x3fff, ..]);
    match ip.segments() {
        _ if METADATA_V6.contains(&ip) => Some("a cloud's metadata service is there"),
        [0xfe80..=0xfebf, ..] => Some("it is link-local"),
        [0xff00..=0xffff, ..] => Some("it is multicast"),
        _ if ip.is_unspecified() => Some("it is unspecified"),
        _ if allow_private => None,
        _ if ip.is_loopback() => Some("it is loopback, and `allow_private` is false"),
        // Teredo and other protocol assignments, documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Some("it is not public, and `allow_private` is false")
        }
        _ if !public => Some("it is private, and `allow_private` is false"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// True for embeddings that no public network carries: all but mapped addresses and the well-known NAT64
/// prefix.
fn tunnelled(ip: Ipv6Addr) -> bool {
    !matches!(ip.segments(), [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..])
}

#[cfg(test)]
mod tests {
    use tidings_connector::ErrorClass;

    use super::*;

    fn may(address: &str, allow_private: bool) -> bool {
        refusal(address.parse().expect(address), allow_private).is_none()
    }

    #[test]
    fn some_addresses_are_never_called() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.23",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
        ] {
            assert!(!may(address, true) && !may(address, false), "{address}");
        }
    }

    #[test]
    fn private_addresses_are_called_only_where_that_is_allowed() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "100::1",
            "5f00::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:808:808::1",
            "::8.8.8.8",
        ] {
            assert!(!may(address, false), "{address} is called without leave");
            assert!(may(address, true), "{address} is not called although it may be");
        }
    }

    #[test]
    fn public_addresses_are_called() {
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(may(address, false) && may(address, true), "{address}");
        }
    }

    #[test]
    fn what_stays_on_this_machine_is_known_by_address_or_name() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "127.0.0.1.example.com", "128.0.0.1", "[::2]", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn of_a_names_addresses_only_those_that_may_be_called_are_left() {
        let of = |addresses: &[&str]| {
            let found = addresses.iter().map(|a| SocketAddr::new(a.parse().expect(a), 80));
            choose("hook", found, |ip| refusal(ip, false))
        };
        let left = of(&["10.0.0.1", "8.8.8.8", "::1"]).expect("one is public");
        assert_eq!(left, ["8.8.8.8:80".parse().expect("an address")]);
        let blocked = of(&["10.0.0.1", "::1"]).expect_err("none is public");
        assert!(blocked.get_ref().is_some_and(|inner| inner.is::<Blocked>()), "{blocked:?}");
        assert_eq!(crate::judge_io(&blocked), crate::Verdict::Fault(ErrorClass::Unroutable));
        assert_eq!(
            blocked.to_string(),
            "hook is 10.0.0.1, which may not be called: it is private, and `allow_private` is false"
        );
        assert!(of(&[]).expect("nothing was refused").is_empty());
    }
}
