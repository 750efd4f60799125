//! The load generator: a process of its own that PUTs objects over many connections and says how fast the
//! answers came.
//!
//! Every request has a random key and a random body and is signed, its body's hash included, inside the timed
//! window. Must never share code with the server's side, and must stay cheap: what it burns, the server does
//! not get.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest head of an answer, and the largest body that is read.
const MAX_ANSWER: usize = 64 << 10;

/// What is asked of the generator.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// `host:port` of the S3 listener.
    #[arg(long)]
    pub(crate) address: String,
    /// The bucket, which exists.
    #[arg(long)]
    pub(crate) bucket: String,
    #[arg(long)]
    pub(crate) region: String,
    #[arg(long)]
    pub(crate) access_key: String,
    #[arg(long)]
    pub(crate) secret_key: String,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Bytes of each body.
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: usize,
    /// How long to go on, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How many requests at most.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) requests: u64,
}

/// What became of a load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// Answers with 200.
    pub(crate) answered: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
    pub(crate) max_us: u32,
    /// Processor time of the generator, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl Answered {
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }
}

/// Runs the load and prints one line of JSON.
pub(crate) fn run(load: &Load) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(generate(load))?;
    println!("{}", serde_json::to_string(&answered)?);
    Ok(())
}

async fn generate(load: &Load) -> Result<Answered> {
    let until = Instant::now() + Duration::from_secs_f64(load.seconds);
    let share = load.requests.div_ceil(load.clients as u64);
    let begin = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..load.clients {
        let client = Client::connect(load.clone()).await?;
        clients.spawn(client.run(until, share));
    }
    let mut took: Vec<u32> = Vec::new();
    while let Some(done) = clients.join_next().await {
        took.extend(done??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(!took.is_empty(), "no request was answered");
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    Ok(Answered {
        answered: took.len() as u64,
        seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
        cpu_seconds: crate::machine::cpu_seconds(std::process::id())?,
    })
}

/// One connection.
struct Client {
    load: Load,
    stream: TcpStream,
    random: fastrand::Rng,
    signer: Signer,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(load: Load) -> Result<Self> {
        let stream = TcpStream::connect(&load.address).await.context("the server does not answer")?;
        stream.set_nodelay(true)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
        let signer =
            Signer { secret: load.secret_key.clone(), region: load.region.clone(), ..Signer::default() };
        Ok(Self {
            stream,
            random: fastrand::Rng::with_seed(u64::from_le_bytes(seed)),
            signer,
            request: Vec::with_capacity(load.size + 1024),
            answer: Vec::with_capacity(4096),
            load,
        })
    }

    async fn run(mut self, until: Instant, most: u64) -> Result<Vec<u32>> {
        let mut took = Vec::new();
        let mut body = vec![0; self.load.size];
        while (took.len() as u64) < most {
            let begin = Instant::now();
            if begin >= until {
                break;
            }
            self.random.fill(&mut body);
            self.sign(&body);
            self.stream.write_all(&self.request).await?;
            self.read_answer().await?;
            took.push(begin.elapsed().as_micros().min(u128::from(u32::MAX)) as u32);
        }
        Ok(took)
    }

    /// Builds the whole request: head and body.
    fn sign(&mut self, body: &[u8]) {
        let Load { address, bucket, region, access_key, .. } = &self.load;
        let path = format!("/{bucket}/o/{:016x}{:016x}", self.random.u64(..), self.random.u64(..));
        let hash = hex::encode(Sha256::digest(body));
        self.signer.now();
        let date = &self.signer.date;
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "PUT\n{path}\n\nhost:{address}\nx-amz-content-sha256:{hash}\nx-amz-date:{date}\n\n{names}\n{hash}"
        );
        let day = &date[..8];
        let scope = format!("{day}/{region}/s3/aws4_request");
        let canonical = hex::encode(Sha256::digest(&canonical));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
        let signature = self.signer.sign(&text);
        let mut head = String::with_capacity(512);
        let _ = write!(
            head,
            "PUT {path} HTTP/1.1\r\nhost: {address}\r\nx-amz-content-sha256: {hash}\r\nx-amz-date: {date}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
    }

    async fn read_answer(&mut self) -> Result<()> {
        self.answer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the server closed the connection");
            ensure!(self.answer.len() <= MAX_ANSWER, "an answer without end");
            let Some(head) = self.answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            if self.answer.starts_with(b"HTTP/1.1 200 ") && length(&self.answer[..head]) == Some(0) {
                return Ok(());
            }
            bail!("not a success: {}", String::from_utf8_lossy(&self.answer));
        }
    }
}

fn length(head: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(head).ok()?;
    let value = text.lines().find_map(|l| l.strip_prefix("content-length: "))?;
    value.trim().parse().ok()
}

/// Derives the key of the day once, as every client library does.
#[derive(Default)]
struct Signer {
    secret: String,
    region: String,
    second: i64,
    date: String,
    day: String,
    key: Option<Hmac<Sha256>>,
}

impl Signer {
    fn now(&mut self) {
        let now = jiff::Timestamp::now();
        if now.as_second() == self.second {
            return;
        }
        self.second = now.as_second();
        self.date = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        if self.day != self.date[..8] {
            self.day = self.date[..8].to_owned();
            let first = format!("AWS4{}", self.secret);
            let key = step(first.as_bytes(), &self.day);
            let key = step(&step(&step(&key, &self.region), "s3"), "aws4_request");
            self.key = Some(keyed(&key));
        }
    }

    fn sign(&self, text: &str) -> String {
        let mut mac = self.key.clone().expect("`now` was called");
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn step(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = keyed(key);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
