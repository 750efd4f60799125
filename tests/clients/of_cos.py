"""The clients of COS: its SDKs for Python and Node.js, and coscmd.

Each is pointed at a local port in the way that it has for that; everything else is its default.
"""

import json
import pathlib
import re
import subprocess
import sys

from qcloud_cos import CosConfig, CosS3Client, CosServiceError

from matrix import Unsupported

REGION = "ap-guangzhou"
DOMAIN = f"cos.{REGION}.myqcloud.com"
ROLE = "qcs::cam::uin/100000000001:uin/100000000001"
THERE = {"Bucket": "qcs::cos:ap-beijing::there-1250000000"}


class PythonSdk:
    bucket = "python-1250000000"
    running, warm = "RestoreAlreadyInProgress", "RestoreNonArchiveObject"

    def __init__(self, server, directory):
        self.pair = access, secret = server.pair
        port = int(server.endpoint.rsplit(":", 1)[1])
        config = CosConfig(
            Region=REGION,
            SecretId=access,
            SecretKey=secret,
            Scheme="http",
            IP="127.0.0.1",
            Port=port,
            ServiceDomain=f"127.0.0.1:{port}",
        )
        self.cos = CosS3Client(config)

    def at(self, key):
        return {"Bucket": self.bucket, "Key": key}

    def create(self):
        self.cos.create_bucket(Bucket=self.bucket)
        self.cos.head_bucket(Bucket=self.bucket)
        [found] = [b for b in self.cos.list_buckets()["Buckets"]["Bucket"] if b["Name"] == self.bucket]
        assert found["Location"] == REGION, found

    def put(self, key, path):
        with path.open("rb") as file:
            self.cos.put_object(**self.at(key), Body=file, EnableMD5=True, Metadata={"x-cos-meta-a": "1"})
        head = self.cos.head_object(**self.at(key))
        assert head["x-cos-meta-a"] == "1" and int(head["x-cos-hash-crc64ecma"]) > 0, head

    def put_large(self, key, path):
        self.cos.upload_file(**self.at(key), LocalFilePath=str(path), PartSize=5, MAXThread=2)

    def get(self, key, path):
        self.cos.get_object(**self.at(key))["Body"].get_stream_to_file(str(path))
        path.unlink()
        self.cos.download_file(**self.at(key), DestFilePath=str(path), PartSize=5, EnableCRC=True)

    def range(self, key, first, last):
        return self.cos.get_object(**self.at(key), Range=f"bytes={first}-{last}")["Body"].get_raw_stream().read()

    def list(self, prefix):
        keys, marker = [], ""
        while True:
            page = self.cos.list_objects(Bucket=self.bucket, Prefix=prefix, Marker=marker, MaxKeys=2)
            keys += [found["Key"] for found in page.get("Contents", [])]
            if page["IsTruncated"] == "false":
                return keys
            marker = page["NextMarker"]

    def folders(self, prefix):
        page = self.cos.list_objects(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        return [found["Prefix"] for found in page["CommonPrefixes"]]

    def copy(self, source, key):
        source = {"Bucket": self.bucket, "Key": source, "Region": REGION}
        copied = self.cos.copy_object(**self.at(key), CopySource=source)
        assert copied["CRC64"], copied

    def presign(self, key):
        # With an address to connect to it would leave the bucket out of the URL.
        access, secret = self.pair
        config = CosConfig(Region=REGION, SecretId=access, SecretKey=secret, Scheme="http")
        return CosS3Client(config).get_presigned_url(**self.at(key), Method="GET")

    def lacks(self, name):
        """Its words for a method that it does not have."""
        try:
            getattr(self.cos, name)
        except AttributeError as error:
            raise Unsupported(str(error)) from None
        raise AssertionError(f"it has {name} now: use it")

    def form(self, key, name, data):
        self.lacks("post_object")

    def put_archived(self, key, path):
        self.cos.put_object(**self.at(key), Body=path.read_bytes(), StorageClass="ARCHIVE")

    def restore(self, key, tier):
        wish = {"Days": 1, "CASJobParameters": {"Tier": tier}}
        try:
            self.cos.restore_object(**self.at(key), RestoreRequest=wish)
        except CosServiceError as error:
            return f"{error.get_status_code()} {error.get_error_code()}"
        return ""

    def put_origin(self, rule):
        self.cos.put_bucket_origin(Bucket=self.bucket, OriginConfiguration={"OriginRule": [rule]})
        [shown] = self.cos.get_bucket_origin(Bucket=self.bucket)["OriginRule"]
        return shown

    def delete_origin(self):
        self.cos.delete_bucket_origin(Bucket=self.bucket)

    def replicate(self):
        rule = {"ID": "all", "Status": "Enabled", "Prefix": "", "Destination": THERE}
        rules = {"Role": ROLE, "Rule": [rule]}
        try:
            self.cos.put_bucket_replication(Bucket=self.bucket, ReplicationConfiguration=rules)
        except CosServiceError as error:
            return f"{error.get_status_code()} {error.get_error_code()}: {error.get_error_msg()}"
        return ""

    def versioning(self, status):
        self.cos.put_bucket_versioning(Bucket=self.bucket, Status=status)
        assert self.cos.get_bucket_versioning(Bucket=self.bucket)["Status"] == status

    def versions(self, key):
        page = self.cos.list_objects_versions(Bucket=self.bucket, Prefix=key)
        found = [(v["VersionId"], int(v["Size"]), False) for v in page.get("Version", []) if v["Key"] == key]
        return found + [(m["VersionId"], 0, True) for m in page.get("DeleteMarker", []) if m["Key"] == key]

    def get_version(self, key, version, path):
        self.cos.get_object(**self.at(key), VersionId=version)["Body"].get_stream_to_file(str(path))

    def delete_version(self, key, version):
        self.cos.delete_object(**self.at(key), VersionId=version)

    def delete(self, key):
        self.cos.delete_object(**self.at(key))

    def delete_many(self, keys):
        answer = self.cos.delete_objects(Bucket=self.bucket, Delete={"Object": [{"Key": key} for key in keys]})
        assert len(answer["Deleted"]) == len(keys) and "Error" not in answer, answer

    def remove(self):
        self.cos.delete_bucket(Bucket=self.bucket)


class NodeSdk:
    """Its calls, over a pipe: node.js beside this file reads one a line and answers so."""

    bucket = "node-1250000000"
    running, warm = "RestoreAlreadyInProgress", "RestoreNonArchiveObject"

    def __init__(self, server, directory):
        access, secret = server.pair
        self.directory = directory
        environment = pathlib.Path(sys.prefix) / "node"
        script = pathlib.Path(__file__).with_name("node.js")
        where = {
            "SecretId": access,
            "SecretKey": secret,
            "Protocol": "http:",
            "Ip": server.endpoint.removeprefix("http://"),
            "AutoSwitchHost": False,
        }
        command = ["node", str(script), str(environment), json.dumps(where)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, method, **arguments):
        arguments = {"Bucket": self.bucket, "Region": REGION, **arguments}
        self.process.stdin.write(json.dumps([method, arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def call(self, method, **arguments):
        answer = self.ask(method, **arguments)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["data"]

    def said(self, method, **arguments):
        """Why it did not do it; empty: it did."""
        error = self.ask(method, **arguments).get("error")
        return f"{error['status']} {error['code']}: {error['message']}" if error else ""

    def create(self):
        self.call("putBucket")
        self.call("headBucket")
        names = [bucket["Name"] for bucket in self.call("getService")["Buckets"]]
        assert self.bucket in names, names

    def put(self, key, path):
        self.call("putObject", Key=key, Body={"file": str(path)})

    def put_large(self, key, path):
        self.call("uploadFile", Key=key, FilePath=str(path), SliceSize=5 << 20, ChunkSize=5 << 20)

    def get(self, key, path):
        self.call("getObject", Key=key, Output=str(path))

    def range(self, key, first, last):
        return bytes.fromhex(self.call("getObject", Key=key, Range=f"bytes={first}-{last}")["Body"])

    def list(self, prefix):
        keys, marker = [], ""
        while True:
            page = self.call("getBucket", Prefix=prefix, Marker=marker, MaxKeys=2)
            keys += [found["Key"] for found in page["Contents"]]
            if page["IsTruncated"] == "false":
                return keys
            marker = page["NextMarker"]

    def folders(self, prefix):
        page = self.call("getBucket", Prefix=prefix, Delimiter="/")
        return [found["Prefix"] for found in page["CommonPrefixes"]]

    def copy(self, source, key):
        from urllib.parse import quote

        self.call("putObjectCopy", Key=key, CopySource=f"{self.bucket}.{DOMAIN}/{quote(source)}")

    def presign(self, key):
        return self.call("getObjectUrl", Key=key, Sign=True)["Url"]

    def form(self, key, name, data):
        (self.directory / name).write_bytes(data)
        host = f"{self.bucket}.{DOMAIN}"
        answer = self.call("form", Host=host, Key=key, File=str(self.directory / name))
        return answer["status"], answer["etag"]

    def put_archived(self, key, path):
        self.call("putObject", Key=key, Body={"file": str(path)}, StorageClass="ARCHIVE")

    def restore(self, key, tier):
        return self.said("restoreObject", Key=key, RestoreRequest={"Days": 1, "CASJobParameters": {"Tier": tier}})

    def put_origin(self, rule):
        self.call("putBucketOrigin", OriginConfiguration={"OriginRule": [rule]})
        [shown] = self.call("getBucketOrigin")["OriginRule"]
        return shown

    def delete_origin(self):
        self.call("deleteBucketOrigin")

    def replicate(self):
        rule = {"ID": "all", "Status": "Enabled", "Prefix": "", "Destination": THERE}
        return self.said("putBucketReplication", ReplicationConfiguration={"Role": ROLE, "Rules": [rule]})

    def versioning(self, status):
        self.call("putBucketVersioning", VersioningConfiguration={"Status": status})
        shown = self.call("getBucketVersioning")["VersioningConfiguration"]
        assert shown["Status"] == status, shown

    def versions(self, key):
        page = self.call("listObjectVersions", Prefix=key)
        found = [(v["VersionId"], int(v["Size"]), False) for v in page["Versions"] if v["Key"] == key]
        return found + [(m["VersionId"], 0, True) for m in page["DeleteMarkers"] if m["Key"] == key]

    def get_version(self, key, version, path):
        self.call("getObject", Key=key, VersionId=version, Output=str(path))

    def delete_version(self, key, version):
        self.call("deleteObject", Key=key, VersionId=version)

    def delete(self, key):
        self.call("deleteObject", Key=key)

    def delete_many(self, keys):
        answer = self.call("deleteMultipleObject", Objects=[{"Key": key} for key in keys])
        assert len(answer["Deleted"]) == len(keys), answer

    def remove(self):
        self.call("deleteBucket")
        self.process.stdin.close()
        assert self.process.wait(60) == 0


class Coscmd:
    bucket = "coscmd-1250000000"
    running, warm = "already in pogress", "RestoreNonArchiveObject"
    # It asks for the newest version before it reads another.
    reads_hidden = False

    def __init__(self, server, directory):
        self.tool = pathlib.Path(sys.executable).with_name("coscmd")
        self.files = ["-c", str(directory / "coscmd.conf"), "-l", str(directory / "coscmd.log")]
        # It has no other way to a port: it takes the server for a proxy.
        self.variables = {"http_proxy": server.endpoint, "HOME": str(directory), "PATH": "/usr/bin:/bin"}
        access, secret = server.pair
        pair = ["-a", access, "-s", secret, "-b", self.bucket, "-r", REGION]
        self("config", *pair, "-p", "5", "--do-not-use-ssl")
        # Below 100 MiB it would send one piece.
        conf = directory / "coscmd.conf"
        conf.write_text(conf.read_text().rstrip() + "\nmultiupload_threshold = 20\n")

    def run(self, *words):
        command = [str(self.tool), *self.files, *words]
        return subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=240)

    def __call__(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def lacks(self, words, *asked):
        """Has it say, with these words in it, that it does not know what it is asked."""
        done = self.run(*asked)
        said = done.stderr.strip().splitlines()[-1]
        assert words in said and done.returncode != 0, f"{asked}: {said}"
        # What it does know is a long list, twice.
        raise Unsupported(re.sub(r"\{.*?\}|\(choose from .*\)", "…", said))

    def create(self):
        self("createbucket")

    def put(self, key, path):
        self("upload", str(path), key)

    def put_large(self, key, path):
        self("upload", str(path), key)

    def get(self, key, path):
        self("download", "-f", key, str(path))

    def range(self, key, first, last):
        self.lacks("unrecognized arguments", "download", "--range", f"{first}-{last}", key, "back")

    def list(self, prefix):
        return [name for name, *_ in self.listed("-a", "-r", prefix)]

    def folders(self, prefix):
        return [name for name, *_ in self.listed("-a", prefix) if name.endswith("/")]

    def listed(self, *words):
        """Lines of a name, its size or what it is, and more."""
        rows = []
        for line in self("list", *words).splitlines():
            row = re.match(r"\s*(\S.*?)\s{2,}(\S+)(?:\s{2,}(.*))?$", line)
            if row and not line.lstrip().startswith("Files"):
                rows.append((row[1], row[2], row[3] or ""))
        return rows

    def copy(self, source, key):
        self("copy", f"{self.bucket}.{DOMAIN}/{source}", key)

    def presign(self, key):
        # It prints a Python literal: b'http://…'.
        return self("signurl", key).strip().splitlines()[-1].removeprefix("b").strip("'")

    def form(self, key, name, data):
        self.lacks("invalid choice", "post", name, key)

    def put_archived(self, key, path):
        self("upload", "-H", json.dumps({"x-cos-storage-class": "ARCHIVE"}), str(path), key)

    def restore(self, key, tier):
        done = self.run("restore", "-d", "1", "-t", tier, key)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def put_origin(self, rule):
        self.lacks("invalid choice", "putbucketorigin", "rule.json")

    def replicate(self):
        self.lacks("invalid choice", "putbucketreplication", "rule.json")

    def versioning(self, status):
        self("putbucketversioning", status)

    def versions(self, key):
        """A line of each: the key, its size if it has one, the time in two words, the name."""
        rows = [line.split() for line in self("list", "-a", "-v", key).splitlines()]
        return [(row[-1], int(row[1]) if len(row) == 5 else 0, len(row) == 4) for row in rows if row[0] == key]

    def get_version(self, key, version, path):
        self("download", "-f", "--versionId", version, key, str(path))

    def delete_version(self, key, version):
        self("delete", "-f", "--versionId", version, key)

    def delete(self, key):
        self("delete", "-f", key)

    def delete_many(self, keys):
        self("delete", "-r", "-f", "dir/")

    def remove(self):
        self("deletebucket")
