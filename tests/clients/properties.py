"""What an object is beside its bytes, as boto3 sees it: conditions, tags, classes, access control, CORS, quotas.

Called by run.py. Every answer is the one that AWS documents; the events are those of the changes, and of them
alone.
"""

import urllib.error
import urllib.request

import requests
from world import COPY, GONE, POST, PUT, make_bucket, refused

POSTED = "ObjectRestore:Post"


def run(s3, server, wanted):
    make_bucket(s3, "props")
    conditions(s3, wanted)
    tags(s3, wanted)
    classes(s3, wanted)
    access(s3)
    cors(s3, server)
    unset(s3)
    form(s3, wanted)
    quota(s3, server, wanted)


def conditions(s3, wanted):
    at = {"Bucket": "props", "Key": "conditional"}
    first = s3.put_object(**at, Body=b"one", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, **at, Body=b"two", IfNoneMatch="*")
    refused("PreconditionFailed", s3.delete_object, **at, IfMatch='"00"')
    refused("NoSuchKey", s3.delete_object, Bucket="props", Key="none", IfMatch="*")
    stale = [{"Key": "conditional", "ETag": '"00"'}, {"Key": "none"}]
    answer = s3.delete_objects(Bucket="props", Delete={"Objects": stale})
    assert [error["Code"] for error in answer["Errors"]] == ["PreconditionFailed"], answer
    assert [gone["Key"] for gone in answer["Deleted"]] == ["none"], answer
    s3.delete_object(**at, IfMatch=first["ETag"])
    wanted["props", "conditional"] = [(PUT, 3), (GONE, 0)]


def tags(s3, wanted):
    at = {"Bucket": "props", "Key": "tagged"}

    def shown():
        return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**at)["TagSet"]}

    s3.put_object(**at, Body=b"x", Tagging="a=1&b=two%20words")
    assert shown() == {"a": "1", "b": "two words"}, shown()
    assert s3.head_object(**at)["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "2"
    s3.put_object_tagging(**at, Tagging={"TagSet": [{"Key": "c", "Value": "ü/+="}]})
    assert shown() == {"c": "ü/+="} and s3.get_object(**at)["TagCount"] == 1
    many = [{"Key": str(n), "Value": "v"} for n in range(11)]
    refused("BadRequest", s3.put_object_tagging, **at, Tagging={"TagSet": many})
    s3.copy_object(Bucket="props", Key="copied", CopySource="props/tagged")
    assert s3.get_object_tagging(Bucket="props", Key="copied")["TagSet"] == [{"Key": "c", "Value": "ü/+="}]
    s3.delete_object_tagging(**at)
    assert shown() == {}
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket="props")
    s3.put_bucket_tagging(Bucket="props", Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    assert s3.get_bucket_tagging(Bucket="props")["TagSet"] == [{"Key": "team", "Value": "a"}]
    s3.delete_bucket_tagging(Bucket="props")
    wanted["props", "tagged"] = [(PUT, 1)]
    wanted["props", "copied"] = [(COPY, 1)]


def classes(s3, wanted):
    at = {"Bucket": "props", "Key": "class"}
    s3.put_object(**at, Body=b"xy", StorageClass="STANDARD_IA")
    assert s3.head_object(**at)["StorageClass"] == "STANDARD_IA"
    [listed] = s3.list_objects_v2(Bucket="props", Prefix="class")["Contents"]
    assert listed["StorageClass"] == "STANDARD_IA", listed
    refused("InvalidRequest", s3.copy_object, **at, CopySource="props/class")
    s3.copy_object(**at, CopySource="props/class", StorageClass="INTELLIGENT_TIERING")
    assert s3.head_object(**at)["StorageClass"] == "INTELLIGENT_TIERING"
    refused("InvalidStorageClass", s3.put_object, **at, Body=b"x", StorageClass="LUKEWARM")
    wanted["props", "class"] = [(PUT, 2), (COPY, 2)]
    restore(s3, wanted)


def restore(s3, wanted):
    at = {"Bucket": "props", "Key": "cold"}
    wish = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    s3.put_object(**at, Body=b"xy", StorageClass="DEEP_ARCHIVE")
    refused("InvalidObjectState", s3.get_object, **at)
    asked = s3.restore_object(**at, RestoreRequest=wish)
    assert asked["ResponseMetadata"]["HTTPStatusCode"] == 202, asked
    refused("RestoreAlreadyInProgress", s3.restore_object, **at, RestoreRequest=wish)
    assert s3.head_object(**at)["Restore"] == 'ongoing-request="true"'
    refused("InvalidObjectState", s3.restore_object, Bucket="props", Key="class", RestoreRequest=wish)
    refused("InvalidObjectState", s3.copy_object, **at, CopySource="props/cold", StorageClass="STANDARD")
    wanted["props", "cold"] = [(PUT, 2), (POSTED, 2)]


def access(s3):
    at = {"Bucket": "props", "Key": "class"}
    for shown in [s3.get_bucket_acl(Bucket="props"), s3.get_object_acl(**at)]:
        [grant] = shown["Grants"]
        assert grant["Permission"] == "FULL_CONTROL" and grant["Grantee"]["ID"] == shown["Owner"]["ID"], shown
    s3.put_object_acl(**at, ACL="private")
    policy = {"Grants": shown["Grants"], "Owner": shown["Owner"]}
    s3.put_object_acl(**at, AccessControlPolicy=policy)
    s3.put_bucket_acl(Bucket="props", ACL="private")
    refused("AccessControlListNotSupported", s3.put_bucket_acl, Bucket="props", ACL="public-read")
    refused("AccessControlListNotSupported", s3.put_object_acl, **at, ACL="public-read")


def cors(s3, server):
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket="props")
    rule = {
        "ID": "app",
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    s3.put_bucket_cors(Bucket="props", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="props")["CORSRules"] == [rule]

    def preflight(origin):
        asked = urllib.request.Request(f"{server.endpoint}/props/key", method="OPTIONS")
        asked.add_header("Origin", origin)
        asked.add_header("Access-Control-Request-Method", "PUT")
        try:
            return urllib.request.urlopen(asked).headers["Access-Control-Allow-Origin"]
        except urllib.error.HTTPError as error:
            return error.code

    assert preflight("https://app.example.com") == "https://app.example.com"
    assert preflight("https://example.org") == 403
    s3.delete_bucket_cors(Bucket="props")
    assert preflight("https://app.example.com") == 403


def form(s3, wanted):
    rules = [["content-length-range", 1, 200_000], ["starts-with", "$Content-Type", "text/"]]
    signed = s3.generate_presigned_post("props", "forms/${filename}", {"Content-Type": "text/plain"}, rules)
    for size in [5, 200_000, 200_001]:
        files = {"file": (f"file {size}", b"x" * size)}
        answer = requests.post(signed["url"], data=signed["fields"], files=files, timeout=60)
        assert answer.status_code == (204 if size <= 200_000 else 400), answer.text
        if size <= 200_000:
            shown = s3.head_object(Bucket="props", Key=f"forms/file {size}")
            assert (shown["ContentLength"], shown["ContentType"]) == (size, "text/plain"), shown
            wanted["props", f"forms/file {size}"] = [(POST, size)]


def unset(s3):
    for call, code in [
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
        (s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration"),
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
    ]:
        refused(code, call, Bucket="props")
    assert s3.get_bucket_request_payment(Bucket="props")["Payer"] == "BucketOwner"
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket="props")
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="props")
    [rule] = s3.get_bucket_ownership_controls(Bucket="props")["OwnershipControls"]["Rules"]
    assert rule["ObjectOwnership"] == "BucketOwnerEnforced", rule


def quota(s3, server, wanted):
    make_bucket(s3, "small")
    s3.put_object(Bucket="small", Key="a", Body=b"x" * 600)
    set_ = server.tidings("bucket", "quota", "small", "--bytes", "1KiB", "--objects", "2")
    assert (set_["bytes"], set_["objects"], set_["max_bytes"]) == (600, 1, 1024), set_
    refused("QuotaExceeded", s3.put_object, Bucket="small", Key="b", Body=b"x" * 425)
    s3.put_object(Bucket="small", Key="b", Body=b"x" * 424)
    refused("QuotaExceeded", s3.put_object, Bucket="small", Key="c", Body=b"")
    refused("QuotaExceeded", s3.copy_object, Bucket="small", Key="c", CopySource="small/a")
    s3.delete_object(Bucket="small", Key="b")
    small = {bucket["name"]: bucket for bucket in server.tidings("bucket", "ls")["buckets"]}["small"]
    assert (small["bytes"], small["objects"], small["max_objects"]) == (600, 1, 2), small
    server.tidings("bucket", "quota", "small", "--none")
    s3.put_object(Bucket="small", Key="large", Body=b"x" * 5000)
    wanted["small", "a"], wanted["small", "large"] = [(PUT, 600)], [(PUT, 5000)]
    wanted["small", "b"] = [(PUT, 424), (GONE, 0)]
