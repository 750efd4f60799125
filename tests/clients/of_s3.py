"""Two more clients of S3, both commands: s3cmd and rclone, with their defaults but for where the server is."""

import json
import pathlib
import re
import subprocess
import sys

from matrix import Unsupported

REGION = "ap-guangzhou"


def tool(name, words, variables):
    command = [str(pathlib.Path(sys.executable).with_name(name)), *words]
    done = subprocess.run(command, env=variables, capture_output=True, timeout=240)
    assert done.returncode == 0, f"{name} {words}: {done.stdout}{done.stderr}"
    return done.stdout


class S3cmd:
    bucket = "s3cmd"

    def __init__(self, server, directory):
        access, secret = server.pair
        host = server.endpoint.removeprefix("http://")
        (directory / "s3cfg").write_text(
            f"[default]\naccess_key = {access}\nsecret_key = {secret}\nhost_base = {host}\nhost_bucket = {host}\n"
            f"use_https = False\nbucket_location = {REGION}\nmultipart_chunk_size_mb = 5\n"
        )
        self.words = ["-c", str(directory / "s3cfg"), "--no-progress"]
        self.variables = {"HOME": str(directory), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

    def __call__(self, *words):
        return tool("s3cmd", [*self.words, *words], self.variables).decode()

    def at(self, key):
        return f"s3://{self.bucket}/{key}"

    def create(self):
        self("mb", self.at(""))

    def put(self, key, path):
        self("put", str(path), self.at(key))

    put_large = put

    def get(self, key, path):
        self("get", self.at(key), str(path))

    def range(self, key, first, last):
        raise Unsupported("s3cmd get has no range")

    def list(self, prefix):
        return re.findall(rf"s3://{self.bucket}/(.*)", self("ls", "--recursive", self.at(prefix)))

    def folders(self, prefix):
        return re.findall(rf"DIR\s+s3://{self.bucket}/(.*)", self("ls", self.at(prefix)))

    def copy(self, source, key):
        self("cp", self.at(source), self.at(key))

    def presign(self, key):
        url = self("signurl", self.at(key), "+600")
        assert "AWSAccessKeyId=" in url, url
        raise Unsupported("s3cmd signurl signs by AWS's second version, which is refused")

    def versioning(self, status):
        raise Unsupported("s3cmd has no list of versions")

    def delete(self, key):
        self("del", self.at(key))

    def delete_many(self, keys):
        self("del", "--recursive", "--force", self.at("dir/"))

    def remove(self):
        self("rb", self.at(""))


class Rclone:
    bucket = "rclone"

    def __init__(self, server, directory):
        access, secret = server.pair
        options = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": server.endpoint,
            "REGION": REGION,
            "ACCESS_KEY_ID": access,
            "SECRET_ACCESS_KEY": secret,
            "UPLOAD_CUTOFF": "5Mi",
        }
        self.variables = {f"RCLONE_CONFIG_T_{name}": value for name, value in options.items()}
        self.variables |= {"HOME": str(directory), "PATH": "/usr/bin:/bin", "RCLONE_CONFIG": "/dev/null"}

    def __call__(self, *words):
        return tool("rclone", words, self.variables)

    def at(self, key):
        return f"t:{self.bucket}/{key}"

    def create(self):
        self("mkdir", self.at(""))

    def put(self, key, path):
        self("copyto", "--ignore-times", str(path), self.at(key))

    put_large = put

    def get(self, key, path):
        self("copyto", self.at(key), str(path))

    def range(self, key, first, last):
        return self("cat", "--offset", str(first), "--count", str(last + 1 - first), self.at(key))

    def list(self, prefix):
        found = json.loads(self("lsjson", "--recursive", "--files-only", "--s3-list-chunk", "2", self.at(prefix)))
        return [prefix + file["Path"] for file in found]

    def folders(self, prefix):
        return [prefix + line for line in self("lsf", "--dirs-only", self.at(prefix)).decode().splitlines()]

    def copy(self, source, key):
        self("copyto", self.at(source), self.at(key))

    def presign(self, key):
        return self("link", "--expire", "10m", self.at(key)).decode().strip()

    def versioning(self, status):
        raise Unsupported("rclone names versions by their time, and deletes none by its id")

    def delete(self, key):
        self("deletefile", self.at(key))

    def delete_many(self, keys):
        self("delete", self.at("dir"))

    def remove(self):
        self("rmdir", self.at(""))
