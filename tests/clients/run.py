"""Clients of S3 and of COS, with their default settings, against a tidings server with an HTTP target.

Arguments: the server's binary, an empty directory. Fails if a client is told what it should not be, if bytes do
not come back, or if the target does not get exactly the events of what was done, in order for each object.
"""

import filecmp
import hashlib
import io
import os

import boto3.s3.transfer

import matrix
import of_cos
import of_s3
import properties
import world
from world import COPY, DIR, GONE, HIDDEN, PARTS, PUT, make_bucket, refused


def boto(server, wanted):
    s3 = server.client()
    make_bucket(s3, "boto")
    large = os.urandom(100 << 20)
    s3.upload_fileobj(io.BytesIO(large), "boto", "large")
    head = s3.head_object(Bucket="boto", Key="large", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(large) and head["ChecksumType"] == "COMPOSITE", head
    back = io.BytesIO()
    s3.download_fileobj("boto", "large", back)
    assert back.getvalue() == large, "100 MiB did not come back"
    part = s3.get_object(Bucket="boto", Key="large", PartNumber=2)
    assert part["PartsCount"] == 13 and part["Body"].read() == large[8 << 20 : 16 << 20], part
    s3.copy({"Bucket": "boto", "Key": "large"}, "boto", "large in parts")
    copied = s3.copy_object(Bucket="boto", Key="flat", CopySource={"Bucket": "boto", "Key": "large in parts"})
    etag = copied["CopyObjectResult"]["ETag"].strip('"')
    assert etag == hashlib.md5(large, usedforsecurity=False).hexdigest(), copied
    assert s3.get_object(Bucket="boto", Key="flat")["Body"].read() == large
    for key in ["large", "large in parts"]:
        wanted["boto", key] = [(PARTS, len(large))]
    wanted["boto", "flat"] = [(COPY, len(large))]

    keys = ["flat", "large", "large in parts"]
    assert [found["Key"] for found in s3.list_objects(Bucket="boto")["Contents"]] == keys
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="boto")["Contents"]] == keys

    at = {"Bucket": "boto", "Key": "small/ä+ &"}
    upload = s3.create_multipart_upload(**at, ChecksumAlgorithm="SHA256")["UploadId"]
    put = s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"hello", ChecksumAlgorithm="SHA256")
    [listed] = s3.list_parts(**at, UploadId=upload)["Parts"]
    assert listed["ChecksumSHA256"] == put["ChecksumSHA256"], listed
    [open_] = s3.list_multipart_uploads(Bucket="boto")["Uploads"]
    assert open_["UploadId"] == upload and open_["Key"] == at["Key"], open_
    parts = [{"PartNumber": 1, "ETag": put["ETag"], "ChecksumSHA256": put["ChecksumSHA256"]}]
    first = s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
    assert first["ETag"] == again["ETag"] and first["ChecksumSHA256"] == again["ChecksumSHA256"], again
    refused("PreconditionFailed", s3.put_object, **at, Body=b"x", IfNoneMatch="*")
    s3.put_object(**at, Body=b"other", IfMatch=first["ETag"])
    given_up = s3.create_multipart_upload(Bucket="boto", Key="given up")["UploadId"]
    s3.abort_multipart_upload(Bucket="boto", Key="given up", UploadId=given_up)
    refused("NoSuchUpload", s3.list_parts, Bucket="boto", Key="given up", UploadId=given_up)
    named = [{"Key": key} for key in [at["Key"], "large in parts", "never there"]]
    assert len(s3.delete_objects(Bucket="boto", Delete={"Objects": named})["Deleted"]) == 3
    wanted["boto", at["Key"]] = [(PARTS, 5), (PUT, 5), (GONE, 0)]
    wanted["boto", "large in parts"].append((GONE, 0))
    versions(s3, wanted)
    properties.run(s3, server, wanted)


def versions(s3, wanted):
    """A round trip through the versions of a bucket."""
    make_bucket(s3, "kept")
    assert "Status" not in s3.get_bucket_versioning(Bucket="kept")
    at = {"Bucket": "kept", "Key": "a key/ä"}
    s3.put_object(**at, Body=b"zero")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    ids = [s3.put_object(**at, Body=b"x" * n)["VersionId"] for n in range(1, 4)]
    hidden = s3.delete_object(**at)
    assert hidden["DeleteMarker"], hidden
    refused("NoSuchKey", s3.get_object, **at)
    refused("405", s3.head_object, **at, VersionId=hidden["VersionId"])
    for n, id_ in enumerate(["null"] + ids):
        body = s3.get_object(**at, VersionId=id_)["Body"].read()
        assert body == (b"x" * n or b"zero"), (n, body)
    copied = s3.copy_object(**at, CopySource={**at, "VersionId": ids[0]})
    assert copied["CopySourceVersionId"] == ids[0], copied
    transfer = boto3.s3.transfer.TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(bytes(6 << 20)), "kept", at["Key"], Config=transfer)
    whole = s3.head_object(**at)["VersionId"]

    pages = s3.get_paginator("list_object_versions").paginate(Bucket="kept", PaginationConfig={"PageSize": 2})
    found, markers = [], []
    for page in pages:
        found += [(v["Key"], v["VersionId"], v["IsLatest"]) for v in page.get("Versions", [])]
        markers += [(m["Key"], m["VersionId"]) for m in page.get("DeleteMarkers", [])]
    key = at["Key"]
    newest = [whole, copied["VersionId"]] + ids[::-1] + ["null"]
    assert found == [(key, id_, id_ == whole) for id_ in newest], found
    assert markers == [(key, hidden["VersionId"])], markers
    [prefix] = s3.list_object_versions(Bucket="kept", Delimiter="/")["CommonPrefixes"]
    assert prefix["Prefix"] == "a key/", prefix

    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(**at, Body=b"null")["VersionId"] == "null"
    assert s3.delete_object(**at)["VersionId"] == "null"
    refused("BucketNotEmpty", s3.delete_bucket, Bucket="kept")
    everything = [whole, copied["VersionId"], hidden["VersionId"], *ids, "null"]
    for id_ in everything:
        named = {"Key": key, "VersionId": id_}
        [deleted] = s3.delete_objects(Bucket="kept", Delete={"Objects": [named]})["Deleted"]
        marker = id_ in [hidden["VersionId"], "null"]
        assert deleted["VersionId"] == id_ and deleted.get("DeleteMarker", False) == marker, deleted
    s3.delete_bucket(Bucket="kept")
    told = [(PUT, 4)] + [(PUT, n + 1, id_) for n, id_ in enumerate(ids)]
    told += [(HIDDEN, 0, hidden["VersionId"]), (COPY, 1, copied["VersionId"]), (PARTS, 6 << 20, whole)]
    told += [(PUT, 4, "null"), (HIDDEN, 0, "null")]
    wanted["kept", key] = told + [(GONE, 0, id_) for id_ in everything]


def cli(server, wanted):
    size = 30 << 20
    (DIR / "file").write_bytes(os.urandom(size))
    server.aws("mb", "s3://cli")
    server.aws("cp", str(DIR / "file"), "s3://cli/file")
    server.aws("cp", "s3://cli/file", "s3://cli/copy")
    server.aws("cp", "s3://cli/copy", str(DIR / "back"))
    assert filecmp.cmp(DIR / "file", DIR / "back", shallow=False), "30 MiB did not come back"
    wanted["cli", "file"] = wanted["cli", "copy"] = [(PARTS, size)]
    for n in range(20):
        path = DIR / f"tree/{n % 3}/file {n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(n))
        wanted["cli", f"tree/{n % 3}/file {n}"] = [(PUT, len(str(n)))]
    server.aws("sync", str(DIR / "tree"), "s3://cli/tree")
    assert server.aws("sync", str(DIR / "tree"), "s3://cli/tree") == "", "a second sync has nothing to do"
    (DIR / "tree/0/file 0").unlink()
    (DIR / "tree/1/file 1").write_text("changed")
    server.aws("sync", "--delete", str(DIR / "tree"), "s3://cli/tree")
    wanted["cli", "tree/0/file 0"].append((GONE, 0))
    wanted["cli", "tree/1/file 1"].append((PUT, 7))
    assert len(server.aws("ls", "--recursive", "s3://cli").splitlines()) == 21
    assert [line.split()[-1] for line in server.aws("ls", "s3://cli/tree/").splitlines()] == ["0/", "1/", "2/"]
    server.aws("mv", "s3://cli/tree/2/file 2", "s3://cli/moved")
    wanted["cli", "moved"] = [(COPY, 1)]
    wanted["cli", "tree/2/file 2"].append((GONE, 0))
    server.aws("rb", "--force", "s3://cli")
    for at, events in wanted.items():
        if at[0] == "cli" and events[-1][0] != GONE:
            wanted[at] = [*events, (GONE, 0)]


def others(server, wanted):
    """Every other client, each in a bucket of its own, one matrix for all."""
    told = {}
    for kind in [of_cos.PythonSdk, of_cos.NodeSdk, of_cos.Coscmd, of_s3.S3cmd, of_s3.Rclone]:
        client = kind(server, DIR)
        told[kind.__name__] = matrix.Work(client, server, DIR, wanted).run()
    matrix.show(told)


def work(server, wanted):
    boto(server, wanted)
    cli(server, wanted)
    others(server, wanted)


world.run(work)
