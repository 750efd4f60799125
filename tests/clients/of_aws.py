"""The clients of AWS: boto3, and the AWS CLI, with their default settings."""

import json

import requests
from botocore.exceptions import ClientError

from matrix import Unsupported
from world import make_bucket

# Everything is to be in another bucket too.
RULES = {
    "Role": "arn:aws:iam::1250000000:role/replication",
    "Rules": [
        {
            "Status": "Enabled",
            "Priority": 1,
            "Filter": {"Prefix": ""},
            "Destination": {"Bucket": "arn:aws:s3:::there"},
            "DeleteMarkerReplication": {"Status": "Disabled"},
        }
    ],
}


class Boto3:
    bucket = "boto3"
    # What it says of a restore that is running, and of an object that needs none.
    running, warm = "RestoreAlreadyInProgress", "InvalidObjectState"

    def __init__(self, server, directory):
        self.s3 = server.client()

    def at(self, key):
        return {"Bucket": self.bucket, "Key": key}

    def lacks(self, name):
        """Its words for a method that it does not have."""
        try:
            getattr(self.s3, name)
        except AttributeError as error:
            raise Unsupported(str(error)) from None
        raise AssertionError(f"boto3 has {name} now: use it")

    def create(self):
        make_bucket(self.s3, self.bucket)
        assert self.bucket in [found["Name"] for found in self.s3.list_buckets()["Buckets"]]

    def put(self, key, path):
        self.s3.put_object(**self.at(key), Body=path.read_bytes(), Metadata={"a": "1"})
        assert self.s3.head_object(**self.at(key))["Metadata"] == {"a": "1"}

    def put_large(self, key, path):
        self.s3.upload_file(str(path), self.bucket, key)

    def put_archived(self, key, path):
        self.s3.put_object(**self.at(key), Body=path.read_bytes(), StorageClass="GLACIER")

    def get(self, key, path):
        self.s3.download_file(self.bucket, key, str(path))

    def range(self, key, first, last):
        return self.s3.get_object(**self.at(key), Range=f"bytes={first}-{last}")["Body"].read()

    def list(self, prefix):
        pages = self.s3.get_paginator("list_objects_v2")
        pages = pages.paginate(Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": 2})
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def folders(self, prefix):
        page = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        return [found["Prefix"] for found in page["CommonPrefixes"]]

    def copy(self, source, key):
        self.s3.copy_object(**self.at(key), CopySource=self.at(source))

    def presign(self, key):
        return self.s3.generate_presigned_url("get_object", Params=self.at(key))

    def form(self, key, name, data):
        created = {"success_action_status": "201"}
        rules = [created, ["content-length-range", 1, 10_000]]
        signed = self.s3.generate_presigned_post(self.bucket, key, created, rules)
        files = {"file": (name, data)}
        answer = requests.post(signed["url"], data=signed["fields"], files=files, timeout=60)
        return answer.status_code, answer.headers["ETag"]

    def restore(self, key, tier):
        wish = {"Days": 1, "GlacierJobParameters": {"Tier": tier}}
        try:
            asked = self.s3.restore_object(**self.at(key), RestoreRequest=wish)
        except ClientError as error:
            return str(error)
        assert asked["ResponseMetadata"]["HTTPStatusCode"] == 202, asked
        return ""

    def put_origin(self, rule):
        self.lacks("put_bucket_origin")

    def replicate(self):
        try:
            self.s3.put_bucket_replication(Bucket=self.bucket, ReplicationConfiguration=RULES)
        except ClientError as error:
            return str(error)
        return ""

    def versioning(self, status):
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": status})
        assert self.s3.get_bucket_versioning(Bucket=self.bucket)["Status"] == status

    def versions(self, key):
        page = self.s3.list_object_versions(Bucket=self.bucket, Prefix=key)
        found = [(v["VersionId"], v["Size"], False) for v in page.get("Versions", []) if v["Key"] == key]
        return found + [(m["VersionId"], 0, True) for m in page.get("DeleteMarkers", []) if m["Key"] == key]

    def get_version(self, key, version, path):
        path.write_bytes(self.s3.get_object(**self.at(key), VersionId=version)["Body"].read())

    def delete_version(self, key, version):
        self.s3.delete_object(**self.at(key), VersionId=version)

    def delete(self, key):
        self.s3.delete_object(**self.at(key))

    def delete_many(self, keys):
        answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert len(answer["Deleted"]) == len(keys) and "Errors" not in answer, answer

    def remove(self):
        self.s3.delete_bucket(Bucket=self.bucket)


class AwsCli:
    bucket = "aws-cli"
    running, warm = "RestoreAlreadyInProgress", "InvalidObjectState"

    def __init__(self, server, directory):
        self.server, self.directory = server, directory

    def at(self, key):
        return f"s3://{self.bucket}/{key}"

    def api(self, operation, **arguments):
        """An operation of S3's on the bucket; what it answers."""
        return json.loads(self.server.aws_api(*self.words(operation, **arguments)) or "{}")

    def words(self, operation, **arguments):
        words = [operation, "--bucket", self.bucket]
        for name, value in arguments.items():
            words += ["--" + name.replace("_", "-"), value if isinstance(value, str) else json.dumps(value)]
        return words

    def refusal(self, service, *words):
        """The line in which it says that, or why, something did not work; empty if it worked."""
        done = self.server.run_aws(service, *words)
        said = [line for line in done.stderr.splitlines() if "error occurred" in line or "nvalid choice" in line]
        assert bool(said) == bool(done.returncode), f"{words}: {done.stdout}{done.stderr}"
        return said[0].strip() if said else ""

    def lacks(self, *words):
        said = self.refusal(*words)
        assert "nvalid choice" in said, f"{words}: {said}"
        raise Unsupported(said)

    def create(self):
        self.server.aws("mb", self.at(""))

    def put(self, key, path):
        self.server.aws("cp", str(path), self.at(key))

    put_large = put

    def put_archived(self, key, path):
        self.server.aws("cp", "--storage-class", "GLACIER", str(path), self.at(key))

    def get(self, key, path):
        self.server.aws("cp", self.at(key), str(path))

    def range(self, key, first, last):
        path = self.directory / "range"
        words = self.words("get-object", key=key, range=f"bytes={first}-{last}")
        self.server.aws_api(*words, str(path))
        return path.read_bytes()

    def list(self, prefix):
        found = self.api("list-objects-v2", prefix=prefix, page_size="2")
        return [object_["Key"] for object_ in found["Contents"]]

    def folders(self, prefix):
        lines = self.server.aws("ls", self.at(prefix)).splitlines()
        return [prefix + line.split("PRE ")[1] for line in lines if "PRE " in line]

    def copy(self, source, key):
        self.server.aws("cp", self.at(source), self.at(key))

    def presign(self, key):
        return self.server.aws("presign", self.at(key)).strip()

    def form(self, key, name, data):
        self.lacks("s3api", "post-object", "--bucket", self.bucket)

    def restore(self, key, tier):
        wish = {"Days": 1, "GlacierJobParameters": {"Tier": tier}}
        return self.refusal("s3api", *self.words("restore-object", key=key, restore_request=wish))

    def put_origin(self, rule):
        self.lacks("s3api", "put-bucket-origin", "--bucket", self.bucket)

    def replicate(self):
        return self.refusal("s3api", *self.words("put-bucket-replication", replication_configuration=RULES))

    def versioning(self, status):
        self.api("put-bucket-versioning", versioning_configuration={"Status": status})
        assert self.api("get-bucket-versioning")["Status"] == status

    def versions(self, key):
        page = self.api("list-object-versions", prefix=key)
        found = [(v["VersionId"], v["Size"], False) for v in page.get("Versions", []) if v["Key"] == key]
        return found + [(m["VersionId"], 0, True) for m in page.get("DeleteMarkers", []) if m["Key"] == key]

    def get_version(self, key, version, path):
        self.server.aws_api(*self.words("get-object", key=key, version_id=version), str(path))

    def delete_version(self, key, version):
        self.api("delete-object", key=key, version_id=version)

    def delete(self, key):
        self.server.aws("rm", self.at(key))

    def delete_many(self, keys):
        answer = self.api("delete-objects", delete={"Objects": [{"Key": key} for key in keys]})
        assert len(answer["Deleted"]) == len(keys) and "Errors" not in answer, answer

    def remove(self):
        self.server.aws("rb", self.at(""))
