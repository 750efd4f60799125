//! Where a function's code comes from: a zip file in base64, or an object of one of our buckets.
//!
//! Must never read an object that the caller's credential may not read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::super::backend::AdminBackend;
use super::answer::{Answer, Refusal};
use super::words::Words;
use crate::config::credentials::{Credential, Scope};
use crate::functions::{CodeInput, FunctionChange};

/// Bytes of an object with code: what fits a request in base64.
const MAX_OBJECT: u64 = 72 << 20;
/// Where the vendor's `CodeSource` may say that code comes from.
const SOURCES: &[&str] = &["ZipFile", "Cos"];

/// Where code is.
enum Place {
    Zip(String),
    Object { bucket: String, key: String },
}

/// Other code for a function that is there.
pub(super) async fn update(backend: &dyn AdminBackend, caller: &Credential, mut words: Words) -> Answer {
    let name = words.function()?;
    let handler = words.said("Handler")?;
    let region = backend.scf().region();
    source(&mut words)?;
    let mut nested = words.object("Code")?.unwrap_or_default();
    let places = (Place::of(&mut nested, region)?, Place::of(&mut words, region)?);
    nested.end()?;
    words.end()?;
    let place = match places {
        (Some(_), Some(_)) => return Err(Refusal::value("code stands once: in `Code`, or beside it")),
        (nested, flat) => nested.or(flat).ok_or_else(missing)?,
    };
    let code = Some(place.code(backend, caller).await?);
    backend.functions().update(&name, FunctionChange { code, handler, ..FunctionChange::default() }).await?;
    Ok(json!({}))
}

/// The code of a new function. What `words` holds beside it was taken before.
pub(super) async fn take(
    backend: &dyn AdminBackend,
    caller: &Credential,
    mut words: Words,
) -> Result<CodeInput, Refusal> {
    source(&mut words)?;
    let mut nested = words.object("Code")?.ok_or_else(missing)?;
    let place = Place::of(&mut nested, backend.scf().region())?;
    nested.end()?;
    words.end()?;
    place.ok_or_else(missing)?.code(backend, caller).await
}

fn missing() -> Refusal {
    let why = "`Code` needs `ZipFile`, or `CosBucketName` and `CosObjectName` of a zip file";
    Refusal::new("MissingParameter.Code", why)
}

fn source(words: &mut Words) -> Result<(), Refusal> {
    match words.said("CodeSource")?.is_none_or(|source| SOURCES.contains(&source.as_str())) {
        true => Ok(()),
        false => Err(Refusal::unsupported("`CodeSource` may be `ZipFile` or `Cos`")),
    }
}

impl Place {
    /// The place that these words name; none if they name none.
    fn of(words: &mut Words, here: &str) -> Result<Option<Self>, Refusal> {
        let zip = words.said("ZipFile")?;
        let (bucket, key) = (words.said("CosBucketName")?, words.said("CosObjectName")?);
        if words.said("CosBucketRegion")?.is_some_and(|region| region != here) {
            let why = format!("the bucket must be of this server's region, {here}");
            return Err(Refusal::new("InvalidParameterValue.CosBucketRegion", why));
        }
        let missing = |name| Refusal::new("MissingParameter", format!("`{name}` is missing"));
        match (zip, bucket, key) {
            (None, None, None) => Ok(None),
            (Some(zip), None, None) => Ok(Some(Place::Zip(zip))),
            (None, Some(bucket), Some(key)) => Ok(Some(Place::Object { bucket, key })),
            (None, Some(_), None) => Err(missing("CosObjectName")),
            (None, None, Some(_)) => Err(missing("CosBucketName")),
            (Some(_), ..) => Err(Refusal::value("code is `ZipFile` or an object, not both")),
        }
    }

    async fn code(self, backend: &dyn AdminBackend, caller: &Credential) -> Result<CodeInput, Refusal> {
        let zip = match self {
            Place::Zip(zip) => zip,
            Place::Object { bucket, key } => STANDARD.encode(object(backend, caller, &bucket, &key).await?),
        };
        Ok(CodeInput { zip: Some(zip), ..CodeInput::default() })
    }
}

/// The bytes of an object. COS's tools leave the appid out of a bucket's name, and begin a key with `/`.
async fn object(
    backend: &dyn AdminBackend,
    caller: &Credential,
    bucket: &str,
    key: &str,
) -> Result<bytes::Bytes, Refusal> {
    let key = key.strip_prefix('/').unwrap_or(key);
    let read = async |bucket: &str| {
        // The same answer whether or not there is such a bucket.
        if caller.scope < Scope::Read || !caller.covers(bucket) {
            let why = "the credential may not read objects of this bucket";
            return Err(Refusal::new("AuthFailure.UnauthorizedOperation", why));
        }
        backend.scf().object(bucket, key, MAX_OBJECT).await.map_err(Refusal::from)
    };
    let short = read(bucket).await;
    let gone = short.as_ref().is_err_and(|refused| refused.code == "ResourceNotFound.Cos");
    if gone { read(&format!("{bucket}-{}", backend.scf().appid())).await } else { short }
}
