"""Bad input, as the real binary gets it: each is refused with the error that S3 names, or stored and listed exactly.

Arguments: the server's binary, an empty directory. Fails if anything else is answered, if what was refused left an
event or a change, or if anything appears outside the data directory.
"""

import hashlib
import hmac
import http.client
import os
import re
import time
import urllib.parse

import world
from world import DIR, GONE, PARTS, PUT, REGION, make_bucket, refused

# Stored as they are: no key is a path.
EXACT = ["..", "../../up", "a/../../b", "./.", "a//b", "/", "//", "line\nbreak", "tab\there", " ", "a b+c%2F&<>\"'", "ключ",
         "\U0001f600", "x" * 1024, "é" * 512, "\x01\x7f", "con", "~", "a\\b", "?versionId=null", "#"]
MIB = 1 << 20


def raw(server, method, path, body=b"", query=""):
    """Status and code of an answer to a path that no client library would send; signed as S3 wants it."""

    host, (access, secret) = server.endpoint.split("//")[1], server.pair
    now, names = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), "host;x-amz-content-sha256;x-amz-date"
    sha = hashlib.sha256(body).hexdigest()
    head = f"host:{host}\nx-amz-content-sha256:{sha}\nx-amz-date:{now}\n"
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    asked = hashlib.sha256(f"{method}\n{path}\n{query}\n{head}\n{names}\n{sha}".encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for step in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{asked}"]:
        key = hmac.digest(key, step.encode(), "sha256")
    signed = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    headers = {"x-amz-content-sha256": sha, "x-amz-date": now, "authorization": signed}
    connection = http.client.HTTPConnection(host)
    connection.request(method, f"{path}?{query}" if query else path, body, headers)
    answer = connection.getresponse()
    code = re.search(rb"<Code>(\w+)</Code>", answer.read())
    return answer.status, code[1].decode() if code else ""


def keys(server, s3, wanted):
    for n, key in enumerate(EXACT):
        s3.put_object(Bucket="bad", Key=key, Body=b"%d" % n)
        assert s3.get_object(Bucket="bad", Key=key)["Body"].read() == b"%d" % n, key
        wanted["bad", key] = [(PUT, len(str(n)))]
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket="bad")["Contents"]]
    assert listed == sorted(EXACT, key=str.encode), listed
    refused("KeyTooLongError", s3.put_object, Bucket="bad", Key="x" * 1025, Body=b"x")
    refused("KeyTooLongError", s3.put_object, Bucket="bad", Key="é" * 513, Body=b"x")
    for path in ["/bad/%FF", "/bad/a%C3", "/bad/%ED%A0%80", "/bad/nul%00", "/bad/%zz"]:
        for method in ["PUT", "GET", "DELETE"]:
            status, code = raw(server, method, path, b"x" if method == "PUT" else b"")
            assert status in [400, 403] and code, f"{method} {path}: {status} {code}"


def uploads(s3, wanted):
    at = {"Bucket": "bad", "Key": "parts"}
    upload = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    other = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    put = lambda upload, n, body: s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]
    small, large, mixed = put(upload, 1, b"small"), put(upload, 2, bytes(5 * MIB)), put(other, 3, b"other")

    def complete(code, *parts):
        listed = [{"PartNumber": n, "ETag": etag} for n, etag in parts]
        refused(code, s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": listed})

    complete("EntityTooSmall", (1, small), (2, large))
    complete("InvalidPartOrder", (2, large), (1, small))
    complete("InvalidPartOrder", (1, small), (1, small))
    complete("InvalidPart", (2, large), (3, mixed))
    complete("InvalidPart", (2, small))
    complete("MalformedXML")
    refused("InvalidArgument", s3.upload_part, **upload, PartNumber=10_001, Body=b"x")
    for unknown in ["none", "0" * 32, "../" * 5, other["UploadId"][::-1]]:
        elsewhere = {**at, "UploadId": unknown}
        refused("NoSuchUpload", s3.upload_part, **elsewhere, PartNumber=1, Body=b"x")
        refused("NoSuchUpload", s3.abort_multipart_upload, **elsewhere)
    refused("NoSuchUpload", s3.list_parts, Bucket="bad", Key="another key", UploadId=upload["UploadId"])
    refused("NoSuchKey", s3.get_object, **at)
    listed = [{"PartNumber": 2, "ETag": large}, {"PartNumber": 9, "ETag": put(upload, 9, b"last")}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})
    s3.abort_multipart_upload(**other)
    wanted["bad", "parts"] = [(PARTS, 5 * MIB + 4)]


def versions(s3):
    at = {"Bucket": "bad", "Key": ".."}
    for id_ in ["none", "0", "null x", "../..", "ff" * 40, "-1"]:
        refused("InvalidArgument", s3.get_object, **at, VersionId=id_)
        refused("InvalidArgument", s3.delete_object, **at, VersionId=id_)
        refused("InvalidArgument", s3.copy_object, Bucket="bad", Key="copy", CopySource={**at, "VersionId": id_})
    refused("NoSuchKey", s3.get_object, Bucket="bad", Key="copy")


def forbidden(server, s3):
    """A key that may write in one bucket and read nothing of the other."""

    make_bucket(s3, "secret")
    s3.put_object(Bucket="secret", Key="key", Body=b"top")
    added = server.local("credential", "add", "--scope", "write", "--bucket", "bad")
    server.tidings("reload")
    limited = server.client(pair=re.findall(r"^\w+_key +(\S+)$", added, re.MULTILINE))
    refused("AccessDenied", limited.copy_object, Bucket="bad", Key="stolen", CopySource="secret/key")
    refused("AccessDenied", limited.get_object, Bucket="secret", Key="key")
    refused("AccessDenied", limited.copy_object, Bucket="bad", Key="stolen", CopySource="nowhere/key")
    upload = {"Bucket": "bad", "Key": "stolen"}
    upload["UploadId"] = limited.create_multipart_upload(**upload)["UploadId"]
    refused("AccessDenied", limited.upload_part_copy, **upload, PartNumber=1, CopySource="secret/key")
    limited.abort_multipart_upload(**upload)
    refused("NoSuchKey", s3.get_object, Bucket="bad", Key="stolen")


def work(server, wanted):
    s3 = server.client()
    make_bucket(s3, "bad")
    keys(server, s3, wanted)
    uploads(s3, wanted)
    versions(s3)
    forbidden(server, s3)
    wanted["secret", "key"] = [(PUT, 3)]
    for key in EXACT:
        s3.delete_object(Bucket="bad", Key=key)
        wanted["bad", key].append((GONE, 0))
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="bad")["Contents"]] == ["parts"]
    assert sorted(os.listdir(DIR)) == ["data", "tidings.toml"], os.listdir(DIR)


world.run(work)
