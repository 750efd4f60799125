//! One POST for one message: its headers, its signature, and what its answer means.
//!
//! Must never follow a redirect, keep an answer's body, or call an address that the guard refuses.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use secrecy::ExposeSecret as _;
use tidings_common::{Url, Verdict, client, nobody};
use tidings_connector::{Cause, ErrorClass, Fault, Message, Outcome, Report, Scope};

use crate::HttpConfig;
use crate::config::Preset;
use crate::error::{answered, retry_after, silence};
use crate::sign::Signer;

/// How much of an answer is read, so that its connection can be used again; then it is dropped.
const ANSWER_BYTES: usize = 64 << 10;

/// With it AWS says that a function failed, whatever the status.
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// How long reading that much may take. The outcome is known before.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// What every request needs, as the files were when it was made.
pub(crate) struct Sender {
    client: Client,
    url: Url,
    origin: String,
    timeout: Duration,
    /// The same in every request.
    headers: HeaderMap,
    signer: Option<Signer>,
    function: bool,
    /// Bytes of an answer's body that somebody wants to see.
    wants: usize,
}

/// What came of one request.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) report: Option<Report>,
    /// The receiver asks for less, or takes too long.
    pub(crate) pressed: bool,
    pub(crate) function_error: bool,
    /// The body, if it was wanted and came whole.
    pub(crate) body: Option<Bytes>,
}

impl Answer {
    fn none(outcome: Outcome, pressed: bool) -> Self {
        Self { outcome, report: None, pressed, function_error: false, body: None }
    }
}

impl HttpConfig {
    /// Headers that are the same in every request, the secret one read anew. `Err` begins with the key.
    pub(crate) fn own_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = self.headers.clone();
        if let Some(secret) = &self.authorization {
            let illegal = |_| "the secret holds a character that no header may hold".to_owned();
            let value =
                secret.read().and_then(|text| HeaderValue::from_str(text.expose_secret()).map_err(illegal));
            let mut value = value.map_err(|why| format!("`authorization{}`: {why}", secret.suffix()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// The signer, its secrets read anew. `Err` begins with the key.
    pub(crate) fn signer(&self) -> Result<Option<Signer>, String> {
        if let Some(own) = &self.own_signer {
            return Ok(Some(own.clone()));
        }
        let Some(secret) = &self.signing_secret else { return Ok(None) };
        let signer = secret.read().and_then(|text| Signer::parse(text.expose_secret()));
        signer.map(Some).map_err(|why| format!("`signing_secret{}`: {why}", secret.suffix()))
    }

    /// What Tencent SCF tells a function beside the event, as far as it exists here.
    fn function_headers(&self, headers: &mut HeaderMap) {
        let seconds = self.options.timeout.0.as_secs().max(1).to_string();
        for (name, value) in [
            ("x-scf-memory", "128"),
            ("x-scf-timeout", &*seconds),
            ("x-scf-version", "$LATEST"),
            ("x-scf-name", &*self.target),
            ("x-scf-namespace", "default"),
            ("x-scf-region", &*self.region),
            ("x-scf-appid", &*self.appid),
            ("x-scf-trigger-src", "cos"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

impl Sender {
    /// Reads every file that the configuration names. Blocks.
    pub(crate) fn new(config: &HttpConfig) -> Result<Self, Fault> {
        let origin = config.origin();
        let cannot = |class, why: &str| Fault::faulted(class, format!("cannot call {origin}: {why}"));
        let secret = |why: String| cannot(ErrorClass::Auth, &why);
        let mut headers = config.own_headers().map_err(secret)?;
        let function = config.options.preset == Preset::Scf;
        if function {
            config.function_headers(&mut headers);
        }
        let tls = match config.url.scheme() {
            "https" => config.tls.client(),
            // Nobody is trusted, since nobody is asked.
            _ => nobody(),
        };
        let tls = tls.map_err(|why| cannot(ErrorClass::Tls, &why))?;
        let options = &config.options;
        let client = client(config.reach.clone(), tls, options.connect_timeout.0, options.max_in_flight);
        Ok(Self {
            client: client.map_err(|e| cannot(ErrorClass::Tls, &silence(e).1))?,
            url: config.url.clone(),
            timeout: config.options.timeout.0,
            headers,
            signer: config.signer().map_err(secret)?,
            function,
            wants: config.watch.as_ref().map_or(0, |watch| watch.wants()),
            origin,
        })
    }

    /// Asks for the receiver's options: harmless to every receiver, and proves name, address and certificate.
    pub(crate) async fn ask(&self, within: Duration) -> Result<u16, Fault> {
        let request = self.client.request(http::Method::OPTIONS, self.url.clone());
        let answer = request.headers(self.headers.clone()).timeout(within).send().await;
        answer.map(|answer| answer.status().as_u16()).map_err(|error| {
            let (verdict, why) = silence(error);
            verdict.fault(format!("{} does not answer: {why}", self.origin))
        })
    }

    /// One attempt.
    pub(crate) async fn post(&self, message: Message) -> Answer {
        let headers = match self.headers_of(&message) {
            Ok(headers) => headers,
            Err(why) => return Answer::none(Outcome::Rejected { why }, false),
        };
        let request = self.client.post(self.url.clone()).headers(headers).body(message.payload);
        let late = Verdict::Retry(ErrorClass::Timeout);
        let began = Instant::now();
        let (verdict, why) = match tokio::time::timeout(self.timeout, request.send()).await {
            Ok(Ok(answer)) => {
                let rest = self.timeout.saturating_sub(began.elapsed());
                return self.answered(answer, rest).await;
            }
            Ok(Err(error)) => silence(error),
            Err(_) => (late, format!("no answer within {:?}", self.timeout)),
        };
        let outcome = verdict.outcome(true, Scope::Target, &format!("POST {}: {why}", self.origin));
        Answer::none(outcome, verdict == late)
    }

    /// Status and headers decide; the body is read to use the connection again, or because it is wanted.
    async fn answered(&self, mut answer: Response, rest: Duration) -> Answer {
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after(value, wall_clock()));
        let text = format!("POST {} answered {status}", self.origin);
        let outcome = answered(status.as_u16(), after, Instant::now(), &text);
        let report = Some(Report { place: Some(status.as_str().into()) });
        let function_error = answer.headers().contains_key(FUNCTION_ERROR);
        let (most, wait) = match self.wants {
            0 => (ANSWER_BYTES, ANSWER_WAIT),
            wants => (wants, rest),
        };
        let whole = tokio::time::timeout(wait, async {
            let (mut read, mut body) = (0, Vec::new());
            while let Ok(chunk) = answer.chunk().await {
                let Some(chunk) = chunk else { return Some(Bytes::from(body)) };
                read += chunk.len();
                if read > most {
                    return None;
                }
                if self.wants > 0 {
                    body.extend_from_slice(&chunk);
                }
            }
            None
        });
        let body = whole.await.ok().flatten().filter(|_| self.wants > 0);
        let pressed = matches!(status.as_u16(), 429 | 503);
        Answer { outcome, report, pressed, function_error, body }
    }

    fn headers_of(&self, message: &Message) -> Result<HeaderMap, Cause> {
        let illegal = |name: &str| {
            Cause::new(ErrorClass::Encode, &format!("header `{name}` cannot be written in HTTP"))
        };
        let mut headers = self.headers.clone();
        let mut set = |name: &'static str, value: &str| {
            let token = HeaderName::from_bytes(name.as_bytes()).map_err(|_| illegal(name))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| illegal(name))?;
            headers.append(token, value);
            Ok(())
        };
        for header in &message.headers {
            set(header.name, &header.value)?;
        }
        if self.function {
            set("x-scf-request-id", &message.id)?;
        }
        if let Some(signer) = &self.signer {
            let since = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let unix_s = since.as_secs();
            set("webhook-id", &message.id)?;
            set("webhook-timestamp", &unix_s.to_string())?;
            set("webhook-signature", &signer.sign(&message.id, unix_s, &message.payload))?;
        }
        Ok(headers)
    }
}

/// A signature's time and a date in `Retry-After` are the wall clock's.
#[expect(clippy::disallowed_methods, reason = "the receiver compares with its own wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
