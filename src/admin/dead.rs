//! Dead letters for operators: list, show, send again, purge.
//!
//! Must never purge or replay anything that was not named: nothing said is no wish.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;

use super::backend::{AdminBackend, ChangeError, rfc3339};
use super::parameters::PAGE_MAX;
use super::routes::Action;
use super::scf;
use crate::queue::dead::{Filter, Letter, Selection};

/// Letters on one page, unless the query says otherwise.
const PAGE: usize = 100;

/// One dead letter, for people and programs.
#[derive(Debug, Serialize)]
struct LetterView {
    /// Its offset in the log: its name in every route.
    offset: u64,
    sequencer: String,
    event_id: Option<String>,
    event: Option<&'static str>,
    bucket: Option<String>,
    key: Option<String>,
    version: Option<String>,
    size: Option<u64>,
    etag: Option<String>,
    /// When the change was committed.
    event_time: Option<String>,
    /// The rule under which the target gets it.
    rule: Option<String>,
    /// Class and text of the last outcome.
    class: String,
    message: String,
    /// Attempts since the start of the server that wrote it, replays included.
    attempts: u32,
    /// Replays that failed.
    replays: u32,
    first_attempt: Option<String>,
    last_attempt: Option<String>,
    /// Since when it has been a dead letter.
    since: Option<String>,
}

/// One dead letter, shown alone.
#[derive(Debug, Serialize)]
struct ShownLetter {
    #[serde(flatten)]
    letter: LetterView,
    /// In the form of SCF's dead letter queues, for a function.
    scf: Option<serde_json::Value>,
}

impl LetterView {
    fn of(letter: Letter) -> Self {
        let time = |ms: i64| rfc3339(ms.saturating_mul(1_000));
        let event = letter.entry.event.as_ref();
        Self {
            offset: letter.position.offset,
            sequencer: letter.position.sequencer(),
            event_id: event.map(|e| e.id.to_string()),
            event: event.map(|e| e.kind.cos_name()),
            bucket: event.map(|e| e.bucket.to_string()),
            key: event.map(|e| e.key.to_string()),
            version: event.and_then(|e| e.version).map(|v| v.id(letter.position).to_string()),
            size: event.map(|e| e.size),
            etag: event.map(|e| e.etag.to_string()),
            event_time: event.and_then(|e| rfc3339(e.time_us)),
            rule: letter.entry.deliveries.first().map(|d| d.rule.to_string()),
            class: letter.class.to_string(),
            message: letter.text.to_string(),
            attempts: letter.attempts,
            replays: letter.replays,
            first_attempt: time(letter.first_unix_ms),
            last_attempt: time(letter.last_unix_ms),
            since: time(letter.since_unix_ms),
        }
    }
}

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    filter: Filter,
    offsets: Vec<u64>,
    all: bool,
    after: u64,
    limit: Option<usize>,
}

fn bad(what: impl Into<String>) -> ChangeError {
    ChangeError::BadRequest(what.into())
}

impl Query {
    fn parse(query: Option<&str>) -> Result<Self, ChangeError> {
        let mut asked = Self::default();
        let (mut bucket, mut key) = (None, None);
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value =
                decoded(value).ok_or_else(|| bad(format!("`{name}` is not percent-encoded UTF-8")))?;
            let number = || value.parse().map_err(|_| bad(format!("`{name}` must be a number")));
            let time = || match value.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Some(time.as_millisecond())),
                Err(_) => Err(bad(format!("`{name}` must be a time such as 2026-01-31T08:00:00Z"))),
            };
            match name {
                "offset" => asked.offsets.push(number()?),
                "after" => asked.after = number()?,
                "limit" => asked.limit = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
                "since" => asked.filter.since_unix_ms = time()?,
                "until" => asked.filter.until_unix_ms = time()?,
                "class" => asked.filter.class = Some(value.into()),
                "bucket" => bucket = Some(value.into()),
                "key" => key = Some(value.into()),
                "all" if value == "true" => asked.all = true,
                _ => return Err(bad(format!("there is no parameter `{name}` with such a value"))),
            }
        }
        asked.filter.object = match (bucket, key) {
            (Some(bucket), Some(key)) => Some((bucket, key)),
            (None, None) => None,
            _ => return Err(bad("an object is named by `bucket` and `key` together")),
        };
        Ok(asked)
    }

    /// What is to be changed: offsets, or what fits; everything only by `all`.
    fn selection(self) -> Result<Selection, ChangeError> {
        let filtered = self.filter != Filter::default();
        if self.after != 0 || self.limit.is_some() {
            return Err(bad("`after` and `limit` are for lists only"));
        }
        match (self.offsets.is_empty(), filtered, self.all) {
            (false, false, false) => Ok(Selection::Offsets(self.offsets)),
            (true, true, false) | (true, false, true) => Ok(Selection::Fitting(self.filter)),
            (true, false, false) => Err(bad("say which: `offset`, a filter, or `all=true`")),
            _ => Err(bad("say either `offset`, or a filter, or `all=true`")),
        }
    }
}

/// Percent-decodes a value; none if it is not UTF-8.
pub(super) fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn unreadable(error: &std::io::Error) -> ChangeError {
    ChangeError::Unavailable(format!("the dead letters: {error}"))
}

/// Answers a question about the letters of a target; `place` is the last part of the path.
pub(super) async fn read(
    backend: &dyn AdminBackend,
    action: Action,
    target: &str,
    place: &str,
    query: Option<&str>,
) -> Result<Response, ChangeError> {
    let dead = backend.dead_letters(target).await?;
    if action == Action::DeadShow {
        let offset = place.parse().map_err(|_| bad("a dead letter is named by its offset"))?;
        let letter = dead.show(offset).await.map_err(|e| unreadable(&e))?;
        let letter = letter.ok_or(ChangeError::NoSuchLetter)?;
        let scf = scf::letter(backend, target, &letter);
        return Ok(Json(ShownLetter { letter: LetterView::of(letter), scf }).into_response());
    }
    let Query { filter, offsets, all, after, limit } = Query::parse(query)?;
    if !offsets.is_empty() || all {
        return Err(bad("`offset` and `all` are for changes only"));
    }
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("`limit` may be 1 to {PAGE_MAX}")));
    }
    let page = dead.page(filter, after, limit).await.map_err(|e| unreadable(&e))?;
    let letters: Vec<_> = page.letters.into_iter().map(LetterView::of).collect();
    let total = dead.status().letters;
    Ok(Json(json!({ "dead_letters": letters, "next": page.next, "total": total })).into_response())
}

/// Makes a change of the letters of a target.
pub(super) async fn perform(
    backend: &dyn AdminBackend,
    action: Action,
    target: &str,
    query: Option<&str>,
) -> Result<Response, ChangeError> {
    let dead = backend.dead_letters(target).await?;
    let answer = match action {
        Action::DeadReplay => {
            backend.can_replay(target).await?;
            let selection = Query::parse(query)?.selection()?;
            json!({ "replaying": dead.replay(selection).await.map_err(|e| unreadable(&e))? })
        }
        Action::DeadPurge => {
            let selection = Query::parse(query)?.selection()?;
            json!({ "purged": dead.purge(selection).await.map_err(|e| unreadable(&e))? })
        }
        _ => json!({ "quarantined": dead.accept_loss().await.map_err(|e| unreadable(&e))? }),
    };
    Ok(Json(answer).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_meant_and_nothing_else() {
        let parse = |q: &str| Query::parse(Some(q));
        let full =
            parse("since=1970-01-01T00:00:01Z&until=1970-01-01T00:00:02.5Z&class=http_4xx&after=7&limit=9");
        let full = full.expect("a query");
        assert_eq!((full.filter.since_unix_ms, full.filter.until_unix_ms), (Some(1_000), Some(2_500)));
        assert_eq!((full.filter.class.as_deref(), full.after, full.limit), (Some("http_4xx"), 7, Some(9)));
        let object = parse("bucket=b&key=a%2Fb%20%C3%A9+").expect("a query").filter.object;
        assert_eq!(object, Some(("b".into(), "a/b é+".into())));
        for bad in
            ["key=a", "bucket=b", "since=now", "after=x", "all=yes", "al=true", "key=%zz&bucket=b", "x"]
        {
            assert!(matches!(parse(bad), Err(ChangeError::BadRequest(_))), "{bad}");
        }
        let select = |q: &str| parse(q).and_then(Query::selection);
        assert_eq!(select("offset=3&offset=4"), Ok(Selection::Offsets(vec![3, 4])));
        assert!(matches!(select("class=dns"), Ok(Selection::Fitting(_))));
        assert_eq!(select("all=true"), Ok(Selection::Fitting(Filter::default())));
        for bad in ["", "offset=1&all=true", "all=true&class=dns", "offset=1&class=dns", "all=true&limit=1"] {
            assert!(matches!(select(bad), Err(ChangeError::BadRequest(_))), "{bad}");
        }
    }
}
