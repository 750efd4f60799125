//! Access control lists. There are none: the owner of everything may do everything, and credentials say who
//! may do what. What asks for just that is granted, all else is refused.
//!
//! Must never take a list that it does not keep.

use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant,
    Grantee, Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::buckets::{existing, owner};
use super::context::Caller;
use super::found::lookup;
use super::operations::Operations;
use super::{headers, names};

/// The list that everything has.
fn the_only_one(operations: &Operations) -> Vec<Grant> {
    let owner = owner(operations);
    let grantee = Grantee {
        display_name: owner.display_name,
        email_address: None,
        id: owner.id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Some(Permission::from_static(Permission::FULL_CONTROL));
    vec![Grant { grantee: Some(grantee), permission }]
}

/// Refuses every list but the only one. A canned list was judged with the headers.
fn check_list(operations: &Operations, canned: bool, policy: Option<&AccessControlPolicy>) -> S3Result<()> {
    let Some(policy) = policy else {
        return if canned { Ok(()) } else { Err(S3ErrorCode::MissingSecurityHeader.into()) };
    };
    let account = Some(&operations.limits.account);
    let owners = policy.owner.as_ref().is_none_or(|owner| owner.id.is_none() || owner.id.as_ref() == account);
    let ours = |grant: &Grant| {
        let grantee = grant.grantee.as_ref();
        grantee.is_some_and(|to| to.uri.is_none() && to.email_address.is_none() && to.id.as_ref() == account)
            && grant.permission.as_ref().is_some_and(|p| p.as_str() == Permission::FULL_CONTROL)
    };
    let grants = policy.grants.as_deref().unwrap_or_default();
    match owners && grants.iter().all(ours) {
        true => Ok(()),
        false => Err(S3ErrorCode::AccessControlListNotSupported.into()),
    }
}

/// Shows a bucket's list.
pub(super) fn get_bucket(
    operations: &Operations,
    req: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let (grants, owner) = (Some(the_only_one(operations)), Some(owner(operations)));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
}

/// Takes the only list there is for a bucket; nothing changes.
pub(super) fn put_bucket(
    operations: &Operations,
    req: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    check_list(operations, req.input.acl.is_some(), req.input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// Shows an object's list.
pub(super) fn get_object(
    operations: &Operations,
    req: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = &req.input;
    check_object(operations, &req, &input.bucket, &input.key, input.version_id.as_deref())?;
    let (grants, owner) = (Some(the_only_one(operations)), Some(owner(operations)));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner, request_charged: None }))
}

/// Takes the only list there is for an object; nothing changes, and no event happens.
pub(super) fn put_object(
    operations: &Operations,
    req: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = &req.input;
    check_object(operations, &req, &input.bucket, &input.key, input.version_id.as_deref())?;
    check_list(operations, input.acl.is_some(), input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

fn check_object<T>(
    operations: &Operations,
    req: &S3Request<T>,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<()> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    names::check_key(key)?;
    lookup(operations, bucket, key, version).map(|_| ())
}
