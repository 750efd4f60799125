//! One request to the admin API of a running server, over HTTP or TLS; and `tidings ready`.
//!
//! Must never send the token to a server whose certificate is not trusted.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::Failure;
use super::remote::Server;
use crate::admin::Token;
use crate::config::Config;

/// How long a command that can do without an answer waits for it.
const QUIET: Duration = Duration::from_secs(2);

/// Say whether a running server can accept changes: exit code 0, or 1 with the reason.
#[derive(clap::Args)]
pub(super) struct Ready {
    #[command(flatten)]
    server: Server,
}

impl Ready {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.server.show("/readyz").await
    }
}

impl Server {
    pub(super) async fn call(&self, method: reqwest::Method, path: &str) -> Result<Value, Failure> {
        let config = self.config.load()?;
        let data = self.data.as_ref().unwrap_or(&config.server.data);
        let token = Token::load(data).with_context(|| {
            format!("no admin token in {}: name the server's data directory with --data", data.display())
        })?;
        let admin = self.address(&config);
        let sent = self
            .client(admin.starts_with("https:"))?
            .request(method, format!("{admin}{path}"))
            .bearer_auth(token.expose())
            .send()
            .await;
        let answer =
            sent.with_context(|| format!("no server answers at {admin}: is `tidings serve` running?"))?;
        let status = answer.status();
        let body = answer.bytes().await.context("the answer broke off")?;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let said = value["error"]["message"].as_str().unwrap_or("no reason was given").to_owned();
        let hint = value["error"]["hint"].as_str().map(|hint| format!("\nnext: {hint}")).unwrap_or_default();
        Err(Failure::Failed(anyhow::anyhow!("{status}: {said}{hint}")))
    }

    /// `http://` or `https://`, and where.
    fn address(&self, config: &Config) -> String {
        let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
        match &self.admin {
            Some(given) if given.starts_with("http://") || given.starts_with("https://") => {
                given.trim_end_matches('/').to_owned()
            }
            Some(given) => format!("{scheme}://{given}"),
            None => format!("{scheme}://{}", config.admin.listen),
        }
    }

    fn client(&self, tls: bool) -> anyhow::Result<reqwest::Client> {
        let mut client = reqwest::Client::builder().no_proxy();
        match &self.ca {
            Some(path) => {
                let pem =
                    std::fs::read(path).with_context(|| format!("--ca {} cannot be read", path.display()))?;
                let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
                anyhow::ensure!(
                    !certificates.is_empty(),
                    "--ca {} holds no certificate in PEM",
                    path.display()
                );
                client = client.tls_certs_only(certificates);
            }
            // The system's certificates are loaded only where they decide.
            None if !tls => client = client.tls_certs_only([]),
            None => {}
        }
        client.build().context("no HTTP client")
    }
}

/// What the server that runs on the configured data directory answers, if one does: none is no failure.
pub(super) async fn quietly(config: &Config, admin: Option<&str>, path: &str) -> Option<Value> {
    let token = Token::load(&config.server.data).ok()?;
    let admin = match admin {
        Some(given) => given.to_owned(),
        None if config.admin.listen.port() == 0 => return None,
        None => config.admin.listen.to_string(),
    };
    let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
    let mut client = reqwest::Client::builder().no_proxy().timeout(QUIET);
    if config.admin.tls.is_none() {
        client = client.tls_certs_only([]);
    }
    let asked = client.build().ok()?.get(format!("{scheme}://{admin}{path}")).bearer_auth(token.expose());
    let answer = asked.send().await.ok().filter(|answer| answer.status().is_success())?;
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}
