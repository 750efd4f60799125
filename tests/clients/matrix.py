"""Every client does the same work, each in its own words; what it cannot do it says itself.

Called by others.py. After each operation that changes an object its event is written down; nothing else may arrive.
A client that cannot show versions has the names of those that its work made told by boto3.
"""

import hashlib
import http.client
import os
import urllib.parse

from world import ASKED, COPY, GONE, HIDDEN, ORIGIN, PARTS, POST, PUT, RESTORED, refused

LARGE = 21 << 20
# Restores of the second tier take 1 ms here, those of the first five hours, as everywhere.
SLOW, QUICK = "Standard", "Expedited"
CONFIGURATION = '[restore]\narchive_expedited = "1ms"\n[origin]\nallow_private = true\n'


class Unsupported(Exception):
    """The client has no such operation; the text is what it says of that."""


class Work:
    """The work of one client, which is a class with the methods that are called here."""

    OPERATIONS = (
        "create put multipart get range list copy presign form restore origin"
        " versioning delete multi_delete replication remove"
    ).split()

    def __init__(self, client, server, directory, wanted):
        self.client, self.target, self.wanted = client, server.target, wanted
        self.judge = server.client()
        self.port = int(server.endpoint.rsplit(":", 1)[1])
        self.directory = directory / type(client).__name__
        self.directory.mkdir()
        self.small, self.large = os.urandom(1000), os.urandom(LARGE)
        for name, data in [("small", self.small), ("large", self.large)]:
            (self.directory / name).write_bytes(data)
        self.keys = [f"dir/{n}/a key+ä" for n in range(5)]
        self.told, self.versioned = {}, False

    def did(self, key, *event):
        self.wanted.setdefault((self.client.bucket, key), []).append(event)

    def run(self, origin):
        """What became of each operation; `origin` is where objects come from that are not here."""
        self.origin_port = origin
        for operation in self.OPERATIONS:
            try:
                self.told[operation] = getattr(self, operation)() or "ok"
            except Unsupported as why:
                self.told[operation] = str(why)
        return self.told

    def back(self, get, *words):
        """The bytes that a download leaves in a file."""
        path = self.directory / "back"
        get(*words, path)
        data = path.read_bytes()
        path.unlink()
        return data

    def create(self):
        self.client.create()

    def put(self):
        for key in self.keys:
            self.client.put(key, self.directory / "small")
            self.did(key, PUT, len(self.small))

    def multipart(self):
        self.client.put_large("large", self.directory / "large")
        self.did("large", PARTS, LARGE)

    def get(self):
        for key, data in [(self.keys[0], self.small), ("large", self.large)]:
            assert self.back(self.client.get, key) == data, f"{key} did not come back"

    def range(self):
        got = self.client.range("large", 5_000_000, 5_000_099)
        assert got == self.large[5_000_000:5_000_100], len(got)

    def list(self):
        assert sorted(self.client.list("")) == [*self.keys, "large"], self.client.list("")
        assert self.client.folders("dir/") == [f"dir/{n}/" for n in range(5)], self.client.folders("dir/")

    def copy(self):
        self.client.copy(self.keys[0], "copied")
        self.did("copied", COPY, len(self.small))
        assert self.back(self.client.get, "copied") == self.small

    def presign(self):
        url = self.client.presign(self.keys[0])
        status, body = self.fetch(url)
        assert (status, body) == (200, self.small), f"{url}: {status} {body[:1000]}"

    def fetch(self, url):
        """Any URL, from our port: names below COS's domain lead elsewhere."""
        url = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", f"{url.path}?{url.query}", headers={"Host": url.netloc})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def form(self):
        status, etag = self.client.form("forms/${filename}", "a file", self.small)
        right = hashlib.md5(self.small, usedforsecurity=False).hexdigest()
        assert (status, etag.strip('"')) == (201, right), (status, etag)
        self.did("forms/a file", POST, len(self.small))
        assert self.back(self.client.get, "forms/a file") == self.small
        self.client.delete("forms/a file")
        self.did("forms/a file", GONE, 0)

    def restore(self):
        """Asked for, asked for again while it runs, done; and an object that is not archived."""
        client, size = self.client, len(self.small)
        for key in ["cold/slow", "cold/quick"]:
            client.put_archived(key, self.directory / "small")
            self.did(key, PUT, size)
            refused("InvalidObjectState", self.judge.get_object, Bucket=client.bucket, Key=key)
        for words in ["", client.running]:
            said = client.restore("cold/slow", SLOW)
            assert words in said and bool(words) == bool(said), f"{words}: {said}"
        self.did("cold/slow", ASKED, size)
        said = client.restore("cold/quick", QUICK)
        assert said == "", said
        self.target.wait(client.bucket, "cold/quick", RESTORED)
        self.did("cold/quick", ASKED, size)
        self.did("cold/quick", RESTORED, size)
        assert self.back(client.get, "cold/quick") == self.small
        said = client.restore(self.keys[0], SLOW)
        assert client.warm in said, said
        for key in ["cold/slow", "cold/quick"]:
            client.delete(key)
            self.did(key, GONE, 0)

    def origin(self):
        """What is not here comes from elsewhere, once, and is an object then."""
        rule = {
            "RulePriority": "1",
            "OriginType": "Mirror",
            "OriginCondition": {"HTTPStatusCode": "404", "Prefix": "in/"},
            "OriginParameter": {"Protocol": "HTTP"},
            "OriginInfo": {
                "HostInfo": {"HostName": f"127.0.0.1:{self.origin_port}"},
                "FileInfo": {"PrefixConfiguration": {"Prefix": f"site/{self.client.bucket}/"}},
            },
        }
        shown = self.client.put_origin(rule)
        assert shown["OriginInfo"]["HostInfo"]["HostName"] == f"127.0.0.1:{self.origin_port}", shown
        page = f"/site/{self.client.bucket}/in/a".encode()
        for _ in range(2):
            assert self.back(self.client.get, "in/a") == page
        self.client.delete_origin()
        refused("NoSuchKey", self.judge.get_object, Bucket=self.client.bucket, Key="in/b")
        self.did("in/a", ORIGIN, len(page))
        self.client.delete("in/a")
        self.did("in/a", GONE, 0)

    def names(self, key):
        """The versions of a key, as boto3 sees them: (name, size, it is a delete marker)."""
        page = self.judge.list_object_versions(Bucket=self.client.bucket, Prefix=key)
        found = [(v["VersionId"], v["Size"], False) for v in page.get("Versions", []) if v["Key"] == key]
        return found + [(m["VersionId"], 0, True) for m in page.get("DeleteMarkers", []) if m["Key"] == key]

    def versioning(self):
        self.client.versioning("Enabled")
        self.versioned = True
        key = "kept"
        for size in [10, 20]:
            (self.directory / "version").write_bytes(b"v" * size)
            self.client.put(key, self.directory / "version")
        # The sizes tell which is which, whatever a client calls them.
        for name, size, _ in reversed(self.names(key)):
            self.did(key, PUT, size, name)
        first = {size: name for name, size, _ in self.client.versions(key)}[10]
        assert self.back(self.client.get_version, key, first) == b"v" * 10
        self.client.delete(key)
        names = {size: name for name, size, _ in self.names(key)}
        assert names.keys() == {10, 20, 0}, names
        self.did(key, HIDDEN, 0, names[0])
        versions = self.client.versions(key)
        kinds = sorted((size, marker) for _, size, marker in versions)
        assert kinds == [(0, True), (10, False), (20, False)], versions
        old = {size: its for its, size, _ in versions}
        if getattr(self.client, "reads_hidden", True):
            assert self.back(self.client.get_version, key, old[10]) == b"v" * 10
        for size in [10, 20, 0]:
            self.client.delete_version(key, old[size])
            self.did(key, GONE, 0, names[size])
        assert self.names(key) == []

    def removed(self, key):
        """One removal without a version: a marker where the bucket has versions."""
        if not self.versioned:
            return self.did(key, GONE, 0)
        [marker] = [name for name, _, marker in self.names(key) if marker]
        self.did(key, HIDDEN, 0, marker)

    def delete(self):
        self.client.delete("copied")
        self.removed("copied")

    def multi_delete(self):
        self.client.delete_many(self.keys)
        for key in self.keys:
            self.removed(key)

    def replication(self):
        """A rule that everything be in another bucket too. It takes two servers to see what becomes of it."""
        return self.client.replicate() or "the rule is taken"

    def remove(self):
        """Everything that is left, and then the bucket."""
        if not self.versioned:
            self.client.delete("large")
            self.did("large", GONE, 0)
        for key in ["large", "copied", "kept", *self.keys] if self.versioned else []:
            for name, _, _ in self.names(key):
                self.judge.delete_object(Bucket=self.client.bucket, Key=key, VersionId=name)
                self.did(key, GONE, 0, name)
        self.client.remove()


def show(told):
    """The matrix: clients down, operations across."""
    width = max(map(len, told))
    print(" " * width, *Work.OPERATIONS)
    notes = []
    for name, cells in told.items():
        row = []
        for operation in Work.OPERATIONS:
            cell = cells[operation]
            if cell != "ok":
                notes.append(f"{name} {operation}: {cell}")
                cell = f"[{len(notes)}]"
            row.append(cell.ljust(len(operation)))
        print(name.ljust(width), *row)
    for number, note in enumerate(notes, 1):
        print(f"[{number}] {note}")
