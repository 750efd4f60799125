//! `multipart/form-data`, read part by part as it comes.
//!
//! Must never hold more than one frame of the body and one part's head, and must read one form in one way
//! only: what is not exactly a form is refused.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use memchr::memmem;
use s3s::{S3Error, S3ErrorCode};

use crate::frontend::context::BodyFault;

/// The largest head of a part, in bytes.
const MAX_HEAD: usize = 8 << 10;
/// The longest boundary that there may be.
const MAX_BOUNDARY: usize = 70;
/// More than a line end after the last boundary is nobody's honest form.
const MAX_EPILOGUE: usize = 1 << 10;

/// A form being read.
pub(super) struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    /// `\r\n--BOUNDARY`.
    delimiter: Vec<u8>,
    /// The data of a part is not at its end.
    in_part: bool,
}

/// The head of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its field's name, as it came.
    pub(super) name: String,
    /// The name of the file that it is, if it is one.
    pub(super) filename: Option<String>,
}

/// The boundary of a content type that is a form's.
pub(super) fn boundary_of(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let good = (1..=MAX_BOUNDARY).contains(&bare.len()) && bare.bytes().all(legal) && !bare.ends_with(' ');
    good.then_some(bare)
}

impl<S: Stream<Item = Result<Bytes, BodyFault>> + Unpin> Reader<S> {
    pub(super) fn new(stream: S, boundary: &str) -> Self {
        // The first boundary has no line end before it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { stream, buffer, delimiter, in_part: false }
    }

    /// The head of the next part; none: the form is at its end. What was left of the part before is passed
    /// over.
    pub(super) async fn next_part(&mut self) -> Result<Option<Part>, S3Error> {
        while self.data().await?.is_some() {}
        self.need(self.delimiter.len() + 2).await?;
        if !self.buffer.starts_with(&self.delimiter) {
            return Err(malformed("it does not begin with its boundary"));
        }
        let _ = self.buffer.split_to(self.delimiter.len());
        match &self.buffer.split_to(2)[..] {
            b"\r\n" => {}
            b"--" => {
                self.epilogue().await?;
                return Ok(None);
            }
            _ => return Err(malformed("a boundary does not end its line")),
        }
        let end = loop {
            // A part may have no head at all, which names no field.
            match memmem::find(&self.buffer, b"\r\n\r\n") {
                Some(end) if end <= MAX_HEAD => break end,
                None if self.buffer.len() <= MAX_HEAD => self.fill().await?,
                _ => return Err(malformed("the head of a part is too long")),
            }
        };
        let head = self.buffer.split_to(end);
        let _ = self.buffer.split_to(4);
        let part = part_of(&head)?;
        self.in_part = true;
        Ok(Some(part))
    }

    /// The next bytes of the part; none: it is at its end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, S3Error> {
        while self.in_part {
            match memmem::find(&self.buffer, &self.delimiter) {
                // It stays for whoever reads on.
                Some(0) => {
                    self.in_part = false;
                    break;
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {}
            }
            // The last bytes may be the beginning of a delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
        Ok(None)
    }

    /// Reads until `bytes` are there.
    async fn need(&mut self, bytes: usize) -> Result<(), S3Error> {
        while self.buffer.len() < bytes {
            self.fill().await?;
        }
        Ok(())
    }

    /// Reads one frame more; a form that ends here is not whole.
    async fn fill(&mut self) -> Result<(), S3Error> {
        match self.stream.next().await {
            None => Err(BodyFault::Length.into()),
            Some(data) => {
                self.buffer.extend_from_slice(&data?);
                Ok(())
            }
        }
    }

    /// Everything behind the last boundary.
    async fn epilogue(&mut self) -> Result<(), S3Error> {
        let mut behind = self.buffer.len();
        while let Some(data) = self.stream.next().await {
            behind += data?.len();
            if behind > MAX_EPILOGUE {
                break;
            }
        }
        match behind > MAX_EPILOGUE {
            true => Err(malformed("something follows its end")),
            false => Ok(()),
        }
    }
}

/// A form that is none, or that could be read in two ways.
pub(super) fn malformed(what: &str) -> S3Error {
    let text = format!("The body of your POST request is not well-formed multipart/form-data: {what}.");
    let mut error = S3Error::with_message(S3ErrorCode::MalformedPOSTRequest, text);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

/// Reads a part's head: exactly one content disposition, which names a field.
fn part_of(head: &[u8]) -> Result<Part, S3Error> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("a part's head is not UTF-8"))?;
    let mut part = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a line of a head has no name"))?;
        if name.trim() != name || name.is_empty() || value.contains(['\r', '\n', '\0']) {
            return Err(malformed("a line of a head is not a header"));
        }
        if name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|known| value.trim().eq_ignore_ascii_case(known))
        {
            return Err(malformed("a part is encoded"));
        }
        if name.eq_ignore_ascii_case("content-disposition")
            && part.replace(disposition(value.trim())?).is_some()
        {
            return Err(malformed("a part has two dispositions"));
        }
    }
    part.ok_or_else(|| malformed("a part has no disposition"))
}

/// `form-data; name="…"; filename="…"`, each at most once.
fn disposition(text: &str) -> Result<Part, S3Error> {
    let odd = || malformed("a disposition is not that of a form");
    let (kind, mut rest) = text.split_once(';').ok_or_else(odd)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(odd());
    }
    let (mut name, mut filename) = (None, None);
    while !rest.trim_start().is_empty() {
        let (key, value) = rest.split_once('=').ok_or_else(odd)?;
        let (value, after) = parameter(value).ok_or_else(odd)?;
        let place = match key.trim().to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut filename,
            // The same in another encoding, for whoever does not read UTF-8.
            "filename*" => &mut None,
            _ => return Err(odd()),
        };
        if place.replace(value).is_some() {
            return Err(odd());
        }
        rest = match after.trim_start().strip_prefix(';') {
            Some(more) => more,
            None if after.trim().is_empty() => "",
            None => return Err(odd()),
        };
    }
    let name = name.filter(|name| !name.is_empty()).ok_or_else(odd)?;
    Ok(Part { name, filename })
}

/// A quoted or bare value, and what follows it. A backslash escapes a quote or itself, else it is one: file
/// names have them.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.contains('"')).then(|| (value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match letters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
