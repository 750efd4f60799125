//! The fields of a form, up to its file.
//!
//! Must never keep a field twice, nor more of them than their bounds.

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::read::{Part, Reader, malformed};
use crate::frontend::context::BodyFault;

/// The most fields before the file.
const MAX_FIELDS: usize = 100;
/// The largest value of a field, in bytes.
const MAX_FIELD: usize = 20 << 10;
/// The largest sum of names and values, in bytes.
const MAX_FIELDS_BYTES: usize = 64 << 10;
/// What follows the file is not looked at, and there is at most so much of it, in bytes.
const MAX_BEHIND: usize = 64 << 10;
/// Where the file's own name goes.
const FILENAME: &str = "${filename}";
/// The headers of an object, as fields call them.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// The fields before the file: names in lower case.
pub(super) struct Fields(Vec<(String, String)>);

/// What a form is before its file is read.
pub(super) struct Form {
    pub(super) fields: Fields,
    /// The file's own name.
    filename: String,
}

impl Form {
    /// Reads up to the file's first byte.
    pub(super) async fn read<S>(reader: &mut Reader<S>) -> S3Result<Self>
    where
        S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
    {
        let mut fields = Fields(Vec::new());
        let mut left = MAX_FIELDS_BYTES;
        while let Some(Part { name, filename }) = reader.next_part().await? {
            let name = name.to_ascii_lowercase();
            if name == "file" {
                return Ok(Self { fields, filename: filename.unwrap_or_default() });
            }
            let value = text(reader, MAX_FIELD.min(left)).await?;
            left = left.checked_sub(name.len() + value.len()).ok_or_else(too_large)?;
            if fields.0.len() == MAX_FIELDS {
                return Err(too_large());
            }
            if fields.get(&name).is_some() {
                return Err(malformed("a field came twice"));
            }
            fields.0.push((name, value));
        }
        Err(s3_error!(InvalidArgument, "POST requires exactly one file upload per request."))
    }

    /// The object's key, with the file's own name where the form leaves it open: without the folders that it
    /// lay in.
    pub(super) fn key(&self) -> S3Result<String> {
        let missing = || s3_error!(InvalidArgument, "Bucket POST must contain a field named 'key'.");
        let key = self.fields.get("key").ok_or_else(missing)?;
        let name = self.filename.rsplit(['/', '\\']).next().unwrap_or_default();
        Ok(key.replace(FILENAME, name))
    }
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn need(&self, name: &str) -> S3Result<&str> {
        self.get(name).ok_or_else(|| s3_error!(InvalidArgument, "The form needs a field named '{name}'."))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What of the form would be a header of a PUT. `signs` names the fields that authenticate.
    pub(super) fn headers(&self, prefix: &str, signs: &[&str]) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.iter().filter(|(name, value)| !signs.contains(name) && !value.is_empty()) {
            let header = match name {
                "acl" => format!("{prefix}acl"),
                "tagging" => return Err(s3_error!(NotImplemented, "Not implemented: the field tagging")),
                known if HEADERS.contains(&known) || known.starts_with(prefix) => known.to_owned(),
                of_a_family if ["x-amz-", "x-cos-"].iter().any(|other| of_a_family.starts_with(other)) => {
                    return Err(s3_error!(InvalidArgument, "A form speaks S3's words or COS's, not both."));
                }
                _ => continue,
            };
            let invalid = || s3_error!(InvalidArgument, "The value of a field cannot be kept as a header.");
            let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| invalid())?;
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?);
        }
        Ok(headers)
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

/// Reads what follows the file: buttons, mostly. What would have had a meaning before it is refused.
pub(super) async fn pass_over<S>(reader: &mut Reader<S>) -> S3Result<()>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let mut left = MAX_BEHIND;
    while let Some(part) = reader.next_part().await? {
        let name = part.name.to_ascii_lowercase();
        let starts = ["x-amz-", "x-cos-", "q-", "success_action_"];
        let means =
            matches!(&*name, "file" | "key" | "policy" | "acl" | "bucket") || HEADERS.contains(&&*name);
        if means || starts.iter().any(|start| name.starts_with(start)) {
            return Err(s3_error!(InvalidArgument, "The file must be the last field of the form."));
        }
        let value = text(reader, left).await?;
        left = left.checked_sub(name.len() + value.len()).ok_or_else(too_large)?;
    }
    Ok(())
}

/// The value of a field of at most `most` bytes.
async fn text<S>(reader: &mut Reader<S>, most: usize) -> S3Result<String>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let mut value = BytesMut::new();
    while let Some(data) = reader.data().await? {
        if value.len() + data.len() > most {
            return Err(too_large());
        }
        value.extend_from_slice(&data);
    }
    String::from_utf8(value.to_vec()).map_err(|_| malformed("a field is not UTF-8"))
}

fn too_large() -> S3Error {
    let text = "Your POST request fields preceding the upload file were too large.";
    S3Error::with_message(S3ErrorCode::MaxPostPreDataLengthExceededError, text)
}
