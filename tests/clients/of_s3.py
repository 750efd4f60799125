"""Two more clients of S3, both commands: s3cmd and rclone, with their defaults but for where the server is."""

import json
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from matrix import Unsupported

REGION = "ap-guangzhou"


def start(name, words, variables):
    command = [str(pathlib.Path(sys.executable).with_name(name)), *words]
    return subprocess.run(command, env=variables, capture_output=True, timeout=240)


def tool(name, words, variables):
    done = start(name, words, variables)
    assert done.returncode == 0, f"{name} {words}: {done.stdout}{done.stderr}"
    return done.stdout


def lacks(words, name, asked, variables):
    """Has a tool say, with these words in it, that it does not know what it is asked."""
    done = start(name, asked, variables)
    said = done.stderr.decode().strip().splitlines()[-1]
    assert words in said and done.returncode != 0, f"{name} {asked}: {said}"
    raise Unsupported(re.sub(r"^[\d/]+ [\d:]+ NOTICE: ", "", said))


class S3cmd:
    bucket = "s3cmd"
    # It leaves the code out where it takes an answer for a warning.
    running, warm = "The object is being restored already.", "InvalidObjectState"

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

    def lacks(self, words, *asked):
        lacks(words, "s3cmd", [*self.words, *asked], self.variables)

    def create(self):
        self("mb", self.at(""))

    def put(self, key, path):
        self("put", str(path), self.at(key))

    put_large = put

    def get(self, key, path):
        self("get", self.at(key), str(path))

    def range(self, key, first, last):
        self.lacks("no such option", "get", f"--range={first}-{last}", self.at(key))

    def list(self, prefix):
        return re.findall(rf"s3://{self.bucket}/(.*)", self("ls", "--recursive", self.at(prefix)))

    def folders(self, prefix):
        return re.findall(rf"DIR\s+s3://{self.bucket}/(.*)", self("ls", self.at(prefix)))

    def copy(self, source, key):
        self("cp", self.at(source), self.at(key))

    def presign(self, key):
        # By AWS's second version, which is refused.
        url = urllib.parse.urlsplit(self("signurl", self.at(key), "+600").strip())
        names = [name for name, _ in urllib.parse.parse_qsl(url.query)]
        assert names == ["AWSAccessKeyId", "Expires", "Signature"], url
        try:
            urllib.request.urlopen(url.geturl())
        except urllib.error.HTTPError as error:
            code = re.search("<Code>(.*)</Code><Message>(.*)</Message>", error.read().decode())
            raise Unsupported(f"signurl gives ?{'&'.join(names)}: {error.code} {code[1]}: {code[2]}") from None
        raise AssertionError("a signature of the second version was taken")

    def form(self, key, name, data):
        self.lacks("Invalid command", "post", self.at(key))

    def put_archived(self, key, path):
        self("put", "--storage-class=GLACIER", str(path), self.at(key))

    def restore(self, key, tier):
        words = ["restore", f"--restore-priority={tier.lower()}", "--restore-days=1", self.at(key)]
        done = start("s3cmd", [*self.words, *words], self.variables)
        return done.stderr.decode()

    def put_origin(self, rule):
        self.lacks("Invalid command", "setorigin", self.at(""))

    def replicate(self):
        self.lacks("Invalid command", "setreplication", self.at(""))

    def versioning(self, status):
        self("setversioning", self.at(""), "enable")

    def versions(self, key):
        self.lacks("no such option", "ls", "--versions", self.at(key))

    def delete(self, key):
        self("del", self.at(key))

    def delete_many(self, keys):
        self("del", "--recursive", "--force", self.at("dir/"))

    def remove(self):
        self("rb", self.at(""))


class Rclone:
    bucket = "rclone"
    running, warm = "RestoreAlreadyInProgress", "Not GLACIER or DEEP_ARCHIVE or INTELLIGENT_TIERING storage class"

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

    def lacks(self, words, *asked):
        lacks(words, "rclone", asked, self.variables)

    def form(self, key, name, data):
        self.lacks("command not found", "backend", "post", self.at(""))

    def put_archived(self, key, path):
        self("copyto", "--s3-storage-class", "GLACIER", str(path), self.at(key))

    def restore(self, key, tier):
        folder, _, name = key.rpartition("/")
        words = [self.at(folder), "--include", f"/{name}", "-o", f"priority={tier}", "-o", "lifetime=1"]
        [told] = json.loads(self("backend", "restore", *words))
        return "" if told["Status"] == "OK" else told["Status"]

    def put_origin(self, rule):
        self.lacks("command not found", "backend", "origin", self.at(""))

    def replicate(self):
        self.lacks("command not found", "backend", "replication", self.at(""))

    def versioning(self, status):
        self("backend", "versioning", self.at(""), status)

    def versions(self, key):
        """It names them by their time."""
        found = json.loads(self("lsjson", "--s3-versions", "--files-only", self.at("")))
        old = [(file["Path"], file["Size"], False) for file in found if file["Path"].startswith(f"{key}-v")]
        current = [file for file in found if file["Path"] == key]
        return [*old, *[(key, file["Size"], False) for file in current], *([] if current else [("", 0, True)])]

    def get_version(self, key, version, path):
        self("copyto", "--s3-versions", self.at(version), str(path))

    def delete_version(self, key, version):
        if version:
            return self("deletefile", "--s3-versions", self.at(version))
        # A marker has no name.
        self("backend", "cleanup-hidden", self.at(""))

    def delete(self, key):
        self("deletefile", self.at(key))

    def delete_many(self, keys):
        self("delete", self.at("dir"))

    def remove(self):
        self("rmdir", self.at(""))
