//! Functions that run elsewhere: where, how they are called, and what may be said about them.
//!
//! Must never show a URL's path or query, nor a secret: tokens travel there.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_connector::Span;
use tidings_http::{HttpConfig, HttpOptions, NEVER_PORTS, Preset as Http, Reach};

use super::spec::Settings;
use super::{FunctionError, target_name};
use crate::config::Encoding;

/// Secrets that requests may be signed with at once: the old one and the new one.
const MAX_SECRETS: usize = 2;
/// How long reaching a receiver may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// How a function elsewhere is called, and what its answers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// As Tencent SCF calls a function in a container: `POST /event-invoke`.
    Scf,
    /// AWS's Runtime Interface Emulator, which answers 200 even where the code failed, and says so.
    Lambda,
    /// `POST /function/NAME`.
    Openfaas,
    /// CloudEvents in binary mode, one for each request.
    Knative,
    /// Standard Webhooks: every request is signed.
    Webhook,
}

impl Preset {
    const ALL: [Self; 5] = [Self::Scf, Self::Lambda, Self::Openfaas, Self::Knative, Self::Webhook];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scf => "scf",
            Self::Lambda => "lambda",
            Self::Openfaas => "openfaas",
            Self::Knative => "knative",
            Self::Webhook => "webhook",
        }
    }

    /// How events are written for it.
    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Scf | Self::Openfaas => Encoding::Cos,
            Self::Lambda => Encoding::S3,
            Self::Knative => Encoding::CloudEvents,
            Self::Webhook => Encoding::CloudEventsStructured,
        }
    }

    /// The path of a URL that has none.
    fn path(self, function: &str) -> String {
        match self {
            Self::Scf => "/event-invoke".to_owned(),
            Self::Lambda => "/2015-03-31/functions/function/invocations".to_owned(),
            Self::Openfaas => format!("/function/{function}"),
            Self::Knative | Self::Webhook => "/".to_owned(),
        }
    }
}

/// Where a function runs, if not here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    pub(super) url: String,
    pub(super) preset: Preset,
    /// Of Standard Webhooks, `whsec_…`: each signs every request.
    #[serde(default)]
    pub(super) secrets: Vec<String>,
}

/// What somebody wants of it; what is not said stays.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) url: Option<String>,
    pub(super) preset: Option<String>,
    pub(super) secrets: Option<Vec<String>>,
}

impl Wish {
    /// Where the function runs after this; none: here.
    pub(super) fn apply(self, now: Option<Elsewhere>) -> Result<Option<Elsewhere>, FunctionError> {
        let invalid = |what: String| FunctionError::Invalid(what);
        let Self { url, preset, secrets } = self;
        if now.is_none() && url.is_none() {
            return match preset.is_none() && secrets.is_none() {
                true => Ok(None),
                false => Err(invalid("`preset` and `secrets` are for functions with a `url`".into())),
            };
        }
        let known = |name: String| {
            Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
                let names = Preset::ALL.map(Preset::name).join(", ");
                invalid(format!("there is no preset `{}`; there are {names}", name.escape_debug()))
            })
        };
        let preset = preset.map(known).transpose()?;
        let (was, had) = now.map_or((None, Vec::new()), |now| (Some((now.url, now.preset)), now.secrets));
        let (was_url, was_preset) = was.map_or((None, None), |(url, preset)| (Some(url), Some(preset)));
        let elsewhere = Elsewhere {
            url: url.or(was_url).unwrap_or_default(),
            preset: preset.or(was_preset).ok_or_else(|| invalid("a `url` needs a `preset`".into()))?,
            secrets: secrets.unwrap_or(had),
        };
        let signs = elsewhere.preset == Preset::Webhook;
        match elsewhere.secrets.len() {
            0 if signs => {
                Err(invalid("a webhook needs `secrets`: one, or two while one replaces the other".into()))
            }
            1.. if !signs => Err(invalid("`secrets` are for the preset `webhook`".into())),
            MAX_SECRETS.. if elsewhere.secrets.len() > MAX_SECRETS => {
                Err(invalid(format!("`secrets` may hold {MAX_SECRETS}")))
            }
            _ => Ok(Some(elsewhere)),
        }
    }
}

impl Elsewhere {
    /// The far side, checked: where it may not be called, it says so.
    pub(super) fn config(
        &self,
        name: &str,
        settings: &Settings,
        (reach, region, appid): (Reach, &str, &str),
    ) -> Result<HttpConfig, String> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let bare = rest.find(['/', '?']).is_none_or(|at| &rest[at..] == "/");
        let url = match bare && !self.url.is_empty() {
            true => format!("{scheme}://{}{}", rest.trim_end_matches('/'), self.preset.path(name)),
            false => self.url.clone(),
        };
        let preset = match self.preset {
            Preset::Scf => Http::Scf,
            Preset::Knative => Http::CloudEvents,
            Preset::Lambda | Preset::Openfaas | Preset::Webhook => Http::Plain,
        };
        let http = HttpOptions {
            url,
            preset,
            timeout: Span(settings.timeout()),
            connect_timeout: Span(CONNECT),
            max_in_flight: settings.concurrency as usize,
            allow_private: false,
            ..HttpOptions::default()
        };
        let config = http.checked_within(&target_name(name), reach)?.of_account(region, appid);
        if NEVER_PORTS.contains(&config.port()) {
            return Err(format!("`url`: port {} may not be called", config.port()));
        }
        match self.secrets.is_empty() {
            true => Ok(config),
            false => config.signed_with(&self.secrets.join(" ")).map_err(|why| format!("`secrets`: {why}")),
        }
    }

    /// Scheme, host and port, for people.
    pub(super) fn origin(&self) -> String {
        let end = self.url.find("://").map_or(0, |at| at + 3);
        let rest = &self.url[end..];
        self.url[..end + rest.find(['/', '?']).unwrap_or(rest.len())].to_owned()
    }

    /// How long one attempt may take.
    pub(super) fn longest(settings: &Settings) -> Duration {
        settings.timeout() + CONNECT + Duration::from_secs(30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn judged(url: &str, allowed: &[&str]) -> Result<HttpConfig, String> {
        let reach = Reach::Listed(allowed.iter().map(|text| text.parse().expect(text)).collect());
        let here = Elsewhere { url: url.into(), preset: Preset::Lambda, secrets: Vec::new() };
        here.config("hello", &Settings::default(), (reach, "region", "1250000000"))
    }

    /// A51, A52 and A55 of the list of attacks: every way to write an address that is not public.
    #[test]
    fn no_spelling_of_an_inner_address_is_taken() {
        for host in [
            "127.0.0.1",
            "0.0.0.0",
            "[::1]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "10.0.0.1",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "0177.0.0.1",
            "2130706433",
            "127.1",
            "0x7f.1",
            "127.0.0.1.",
            "①②⑦.⓪.⓪.①",
        ] {
            let told = judged(&format!("http://{host}:8080/"), &[]).err();
            assert!(told.as_ref().is_some_and(|told| told.starts_with("`url`")), "{host}: {told:?}");
        }
        for url in
            ["file:///etc/passwd", "gopher://h/", "unix:/x", "http://a@b/", "http://a:b@c/", "http://h#x", ""]
        {
            assert!(judged(url, &[]).is_err(), "{url}");
        }
        for port in [22, 25, 6379] {
            assert!(judged(&format!("http://example.com:{port}/"), &[]).is_err(), "{port}");
        }
    }

    #[test]
    fn a_list_opens_what_it_names_and_public_addresses_are_open() {
        for (url, list) in [
            ("http://10.1.2.3:8080", &["10.0.0.0/8"][..]),
            ("http://127.1:8080", &["127.0.0.0/8"]),
            ("http://[fd00::1]:8080/x", &["fd00::/8"]),
            ("https://example.com/hook?token=x", &[]),
            ("http://8.8.8.8", &[]),
        ] {
            assert!(judged(url, list).is_ok(), "{url}: {:?}", judged(url, list).err());
        }
        assert!(judged("http://169.254.169.254/", &["0.0.0.0/0"]).is_err());
        assert!(judged("http://10.1.2.3/", &["10.2.0.0/16"]).is_err());
    }

    #[test]
    fn a_wish_keeps_what_it_does_not_say() {
        let wish = |url: Option<&str>, preset: Option<&str>, secrets: Option<&[&str]>| Wish {
            url: url.map(str::to_owned),
            preset: preset.map(str::to_owned),
            secrets: secrets.map(|all| all.iter().map(|secret| (*secret).to_owned()).collect()),
        };
        assert!(wish(None, None, None).apply(None).expect("nothing").is_none());
        let made = wish(Some("https://h/"), Some("webhook"), Some(&[SECRET])).apply(None).expect("good");
        let rotated =
            wish(None, None, Some(&[SECRET, SECRET])).apply(made.clone()).expect("good").expect("one");
        assert_eq!(
            (&*rotated.url, rotated.preset, rotated.secrets.len()),
            ("https://h/", Preset::Webhook, 2)
        );
        for (bad, now) in [
            (wish(None, Some("scf"), None), None),
            (wish(Some("https://h/"), None, None), None),
            (wish(Some("https://h/"), Some("ftp"), None), None),
            (wish(Some("https://h/"), Some("webhook"), None), None),
            (wish(Some("https://h/"), Some("scf"), Some(&[SECRET])), None),
            (wish(None, None, Some(&[SECRET; 3])), made),
        ] {
            let said = format!("{bad:?}");
            assert!(bad.apply(now).is_err(), "{said}");
        }
    }
}
