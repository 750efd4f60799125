"""boto3 and the AWS CLI, with their default settings, against a tidings server with an HTTP target.

Arguments: the server's binary, an empty directory. Fails if a client is told what it should not be, if bytes do
not come back, or if the target does not get exactly the events of what was done, in order for each object.
"""

import filecmp
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import tomllib
import urllib.parse

import boto3
import boto3.s3.transfer
from botocore.exceptions import ClientError

import properties

BINARY, DIR = sys.argv[1], pathlib.Path(sys.argv[2])
DEADLINE = 240  # seconds for one command, and for the last event
PUT, COPY = "ObjectCreated:Put", "ObjectCreated:Copy"
PARTS, GONE = "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:Delete"
HIDDEN = "ObjectRemoved:DeleteMarkerCreated"


class Target:
    """An HTTP receiver that keeps each event once, and wakes whoever waits for more."""

    def __init__(self):
        self.seen, self.events, self.changed = set(), {}, threading.Condition()
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with target.changed:
                    if self.headers["tidings-event-id"] not in target.seen:
                        target.seen.add(self.headers["tidings-event-id"])
                        for record in body["Records"]:
                            target.take(record)
                    target.changed.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"

    def take(self, record):
        s3 = record["s3"]
        key = urllib.parse.unquote_plus(s3["object"]["key"])
        told = (record["eventName"], s3["object"].get("size", 0))
        if "versionId" in s3["object"]:
            told += (s3["object"]["versionId"],)
        self.events.setdefault((s3["bucket"]["name"], key), []).append(told)

    def expect(self, wanted):
        """Waits for these events and no others: (bucket, key) to a list of (name, size), and the version's id
        where the bucket has versions."""

        with self.changed:
            self.changed.wait_for(lambda: self.events == wanted, DEADLINE)
            assert self.events == wanted, f"the target has {self.events}\nbut was to have {wanted}"


class Server:
    """The real binary on free ports."""

    def __init__(self, target):
        (DIR / "tidings.toml").write_text(
            f"""
[server]
listen = "127.0.0.1:0"
data = "{DIR}/data"
[admin]
listen = "127.0.0.1:0"
[target.hook.connector.http]
url = "{target.url}"
[[target.hook.rule]]
bucket = "*"
events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:*"]
"""
        )
        command = [BINARY, "serve", "--config", str(DIR / "tidings.toml")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if match := re.match(r"listening s3 (\S+)", line):
                self.endpoint = match[1]
            if match := re.match(r"listening admin (\S+)", line):
                self.admin = re.sub("^https?://", "", match[1])
            if line.strip() == "ready":
                break
        else:
            raise AssertionError(f"the server ended with {self.process.wait()}")
        pair = tomllib.loads((DIR / "data/credentials.toml").read_text())["credential"][0]
        self.pair = (pair["access_key"], pair["secret_key"])

    def tidings(self, *words):
        """What one of our own commands prints."""
        where = ["--config", str(DIR / "tidings.toml"), "--admin", self.admin, "--json"]
        done = subprocess.run([BINARY, *words, *where], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0, "the server did not stop in order"


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was to be answered")


def boto(server, wanted):
    access, secret = server.pair
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="ap-guangzhou",
    )
    s3.create_bucket(Bucket="boto", CreateBucketConfiguration={"LocationConstraint": "ap-guangzhou"})
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
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "ap-guangzhou"})
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
    access, secret = server.pair
    none = str(DIR / "none")
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(DIR),
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "ap-guangzhou",
        "AWS_CONFIG_FILE": none,
        "AWS_SHARED_CREDENTIALS_FILE": none,
    }

    def aws(*words):
        aws = pathlib.Path(sys.executable).with_name("aws")
        command = [aws, "--endpoint-url", server.endpoint, "s3", *words]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    size = 30 << 20
    (DIR / "file").write_bytes(os.urandom(size))
    aws("mb", "s3://cli")
    aws("cp", str(DIR / "file"), "s3://cli/file")
    aws("cp", "s3://cli/file", "s3://cli/copy")
    aws("cp", "s3://cli/copy", str(DIR / "back"))
    assert filecmp.cmp(DIR / "file", DIR / "back", shallow=False), "30 MiB did not come back"
    wanted["cli", "file"] = wanted["cli", "copy"] = [(PARTS, size)]
    for n in range(20):
        path = DIR / f"tree/{n % 3}/file {n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(n))
        wanted["cli", f"tree/{n % 3}/file {n}"] = [(PUT, len(str(n)))]
    aws("sync", str(DIR / "tree"), "s3://cli/tree")
    assert aws("sync", str(DIR / "tree"), "s3://cli/tree") == "", "a second sync has nothing to do"
    (DIR / "tree/0/file 0").unlink()
    (DIR / "tree/1/file 1").write_text("changed")
    aws("sync", "--delete", str(DIR / "tree"), "s3://cli/tree")
    wanted["cli", "tree/0/file 0"].append((GONE, 0))
    wanted["cli", "tree/1/file 1"].append((PUT, 7))
    assert len(aws("ls", "--recursive", "s3://cli").splitlines()) == 21
    assert [line.split()[-1] for line in aws("ls", "s3://cli/tree/").splitlines()] == ["0/", "1/", "2/"]
    aws("mv", "s3://cli/tree/2/file 2", "s3://cli/moved")
    wanted["cli", "moved"] = [(COPY, 1)]
    wanted["cli", "tree/2/file 2"].append((GONE, 0))
    aws("rb", "--force", "s3://cli")
    for at, events in wanted.items():
        if at[0] == "cli" and events[-1][0] != GONE:
            wanted[at] = [*events, (GONE, 0)]


def main():
    target, wanted = Target(), {}
    server = Server(target)
    try:
        boto(server, wanted)
        cli(server, wanted)
        target.expect(wanted)
        server.stop()
    finally:
        server.process.kill()
    print(f"{sum(map(len, wanted.values()))} events of {len(wanted)} objects, each as it was to be")


main()
