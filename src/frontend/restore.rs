//! RestoreObject: an archived object shall be readable for some days.
//!
//! Must never answer that a restore began before its event is durable, and never take a wish for less than it
//! is: what of it is not known is refused.

use http::StatusCode;
use s3s::dto::{RestoreObjectInput, RestoreObjectOutput, RestoreRequest};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::classes::archive_of;
use super::context::{Caller, Status};
use super::copy::MAX_LOOKUPS;
use super::family::Family;
use super::found::lookup;
use super::operations::Operations;
use super::{errors, headers, names};
use crate::commit::{Asked, CommitError, WantedRestore};
use crate::queue::Tier;
use crate::store::Object;

/// The most days for which an object may be restored: 100 years.
const MAX_DAYS: i32 = 36_500;
/// COS's element around the tier.
const COS_JOB: &str = "CASJobParameters";

/// What a document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    days: u32,
    tier: Tier,
}

/// Begins a restore, or lets one that is done last for longer.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<RestoreObjectInput>,
) -> S3Result<S3Response<RestoreObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    // What no parser saw could say more than it understood.
    let seen = caller.context.document.as_ref().and_then(|document| document.text());
    let wish = Wish::of(input.restore_request, &seen.ok_or(S3ErrorCode::MalformedXML)?)?;
    for _ in 0..MAX_LOOKUPS {
        let object = lookup(operations, &input.bucket, &input.key, input.version_id.as_deref())?;
        let wanted = wish.of_object(operations, &caller, &object)?;
        let permit = operations.commit.reserve_restore(&input.bucket, &input.key).await;
        let permit = permit.map_err(errors::of_commit)?;
        let status = match operations.commit.restore_object(permit, &object, wanted).await {
            Err(CommitError::Replaced) => continue,
            Ok(Asked::Begun) => StatusCode::ACCEPTED,
            Ok(Asked::Extended) => StatusCode::OK,
            Err(error) => return Err(errors::of_commit(error)),
        };
        let mut answer = S3Response::new(RestoreObjectOutput::default());
        answer.extensions.insert(Status(status));
        return Ok(answer);
    }
    Err(errors::of_commit(CommitError::Replaced))
}

impl Wish {
    /// What the document says; `seen` is all of its text.
    fn of(document: Option<RestoreRequest>, seen: &str) -> S3Result<Self> {
        let document = document.ok_or(S3ErrorCode::MalformedXML)?;
        let later = [
            ("Type", document.type_.is_some()),
            ("OutputLocation", document.output_location.is_some()),
            ("SelectParameters", document.select_parameters.is_some()),
        ];
        if let Some((what, _)) = later.into_iter().find(|(_, asked)| *asked) {
            return Err(s3_error!(NotImplemented, "Not implemented: {what} of a restore"));
        }
        let days = document.days.ok_or(S3ErrorCode::MalformedXML)?;
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(s3_error!(InvalidArgument, "Days must be 1 to {MAX_DAYS}"));
        }
        let of_cos = cos_tier(seen)?;
        let tiers = [
            document.tier.map(|tier| tier.as_str().to_owned()),
            document.glacier_job_parameters.map(|job| job.tier.as_str().to_owned()),
            of_cos.map(str::to_owned),
        ];
        let mut tiers = tiers.into_iter().flatten();
        let tier = match (tiers.next(), tiers.next()) {
            (None, _) => Tier::Standard,
            (Some(tier), None) => Tier::parse(&tier).ok_or(S3ErrorCode::MalformedXML)?,
            (Some(_), Some(_)) => return Err(S3ErrorCode::MalformedXML.into()),
        };
        Ok(Self { days: days.unsigned_abs(), tier })
    }

    fn of_object(
        &self,
        operations: &Operations,
        caller: &Caller,
        object: &Object,
    ) -> S3Result<WantedRestore> {
        let archive = archive_of(&object.meta.headers).ok_or_else(|| not_archived(caller.context.family))?;
        let takes = operations.commit.restore_takes(archive.deep, self.tier).ok_or_else(|| {
            let (tier, class) = (self.tier.name(), &archive.class);
            s3_error!(InvalidArgument, "Objects of the class {class} have no tier {tier}")
        })?;
        let request = caller.request_info();
        Ok(WantedRestore { class: archive.class, tier: self.tier, takes, days: self.days, request })
    }
}

/// What each protocol says of an object that can be read as it is: its clients look for its own code.
fn not_archived(family: Family) -> S3Error {
    if family == Family::S3 {
        let text = "Restore is not allowed for the object's current storage class.";
        return S3Error::with_message(S3ErrorCode::InvalidObjectState, text);
    }
    let code = S3ErrorCode::Custom("RestoreNonArchiveObject".into());
    let mut error = S3Error::with_message(code, "The object is not archived: it can be read as it is.");
    error.set_status_code(StatusCode::METHOD_NOT_ALLOWED);
    error
}

/// The tier in COS's own element, which the parser passes over.
fn cos_tier(document: &str) -> S3Result<Option<&str>> {
    let Some((_, rest)) = document.split_once(&format!("<{COS_JOB}")) else { return Ok(None) };
    let tier = || {
        let (job, _) = rest.split_once(&format!("</{COS_JOB}"))?;
        let (_, tier) = job.split_once("<Tier>")?;
        let (tier, _) = tier.split_once("</Tier>")?;
        Some(tier.trim())
    };
    tier().map(Some).ok_or_else(|| S3ErrorCode::MalformedXML.into())
}

#[cfg(test)]
mod tests {
    use s3s::dto::GlacierJobParameters;

    use super::*;

    fn wish(days: Option<i32>, s3: Option<&str>, text: &str) -> Result<(u32, Tier), String> {
        let tier = |tier: &str| s3s::dto::Tier::from(tier.to_owned());
        let job = s3.map(|name| GlacierJobParameters { tier: tier(name) });
        let document = RestoreRequest { days, glacier_job_parameters: job, ..RestoreRequest::default() };
        let wish = Wish::of(Some(document), text).map_err(|error| error.code().as_str().to_owned())?;
        Ok((wish.days, wish.tier))
    }

    #[test]
    fn both_protocols_say_how_soon() {
        let cos = |tier| format!("<CASJobParameters>\n <Tier>{tier}</Tier>\n</CASJobParameters>");
        assert_eq!(wish(Some(1), None, ""), Ok((1, Tier::Standard)));
        assert_eq!(wish(Some(2), Some("Bulk"), ""), Ok((2, Tier::Bulk)));
        assert_eq!(wish(Some(36_500), None, &cos("Expedited")), Ok((36_500, Tier::Expedited)));
        for (days, s3, text) in [
            (Some(1), Some("Slowly"), String::new()),
            (Some(1), None, cos("bulk")),
            (Some(1), Some("Bulk"), cos("Bulk")),
            (Some(1), None, "<CASJobParameters><Tier>Bulk</Tier>".into()),
            (Some(1), None, "<CASJobParameters/>".into()),
            (None, None, String::new()),
        ] {
            assert_eq!(wish(days, s3, &text), Err("MalformedXML".into()), "{days:?} {s3:?} {text}");
        }
        for days in [0, -1, 36_501, i32::MAX] {
            assert_eq!(wish(Some(days), None, ""), Err("InvalidArgument".into()), "{days}");
        }
    }
}
