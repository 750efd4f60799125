"""Every client does the same work, each in its own words; what it cannot do it says itself.

Called by run.py. After each operation that changes an object its event is written down; nothing else may arrive.
"""

import http.client
import os
import urllib.parse

PUT, COPY = "ObjectCreated:Put", "ObjectCreated:Copy"
PARTS, GONE = "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:Delete"
HIDDEN = "ObjectRemoved:DeleteMarkerCreated"
LARGE = 21 << 20


class Unsupported(Exception):
    """The client has no such operation; the text says in its own words why."""


class Work:
    """The work of one client, which is a class with the methods that are called here."""

    OPERATIONS = (
        "create put multipart get range list copy presign versioning delete multi_delete remove".split()
    )

    def __init__(self, client, server, directory, wanted):
        self.client, self.wanted = client, wanted
        self.port = int(server.endpoint.rsplit(":", 1)[1])
        self.directory = directory / type(client).__name__
        self.directory.mkdir()
        self.small, self.large = os.urandom(1000), os.urandom(LARGE)
        for name, data in [("small", self.small), ("large", self.large)]:
            (self.directory / name).write_bytes(data)
        self.keys = [f"dir/{n}/a key+ä" for n in range(5)]
        self.told = {}

    def did(self, key, *event):
        self.wanted.setdefault((self.client.bucket, key), []).append(event)

    def run(self):
        for operation in self.OPERATIONS:
            try:
                self.told[operation] = getattr(self, operation)() or "ok"
            except Unsupported as why:
                self.told[operation] = str(why)
        return self.told

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
            self.client.get(key, self.directory / "back")
            assert (self.directory / "back").read_bytes() == data, f"{key} did not come back"
            (self.directory / "back").unlink()

    def range(self):
        got = self.client.range("large", 5_000_000, 5_000_099)
        assert got == self.large[5_000_000:5_000_100], len(got)

    def list(self):
        assert sorted(self.client.list("")) == [*self.keys, "large"], self.client.list("")
        assert self.client.folders("dir/") == [f"dir/{n}/" for n in range(5)], self.client.folders("dir/")

    def copy(self):
        self.client.copy(self.keys[0], "copied")
        self.did("copied", COPY, len(self.small))
        self.client.get("copied", self.directory / "back")
        assert (self.directory / "back").read_bytes() == self.small
        (self.directory / "back").unlink()

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

    def versioning(self):
        self.client.versioning("Enabled")
        key = "kept"
        for size in [10, 20]:
            (self.directory / "version").write_bytes(b"v" * size)
            self.client.put(key, self.directory / "version")
        self.client.delete(key)
        versions = self.client.versions(key)
        old = [(id_, size) for id_, size, marker in versions if not marker]
        [marker] = [id_ for id_, _, marker in versions if marker]
        assert sorted(size for _, size in old) == [10, 20], versions
        old.sort(key=lambda version: version[1])
        for id_, size in old:
            self.did(key, PUT, size, id_)
        self.did(key, HIDDEN, 0, marker)
        self.client.get_version(key, old[0][0], self.directory / "back")
        assert (self.directory / "back").read_bytes() == b"v" * 10
        (self.directory / "back").unlink()
        for id_ in [marker, *[id_ for id_, _ in old]]:
            self.client.delete_version(key, id_)
            self.did(key, GONE, 0, id_)
        self.versioned = True

    def removed(self, key):
        """One removal without a version: a marker where the bucket has versions."""
        if not getattr(self, "versioned", False):
            return self.did(key, GONE, 0)
        [marker] = [id_ for id_, _, marker in self.client.versions(key) if marker]
        self.did(key, HIDDEN, 0, marker)

    def delete(self):
        self.client.delete("copied")
        self.removed("copied")

    def multi_delete(self):
        self.client.delete_many(self.keys)
        for key in self.keys:
            self.removed(key)

    def remove(self):
        """Everything that is left, and then the bucket."""
        for key in ["large", "copied", *self.keys]:
            if not getattr(self, "versioned", False):
                if key == "large":
                    self.client.delete(key)
                    self.did(key, GONE, 0)
                continue
            for id_, _, _ in self.client.versions(key):
                self.client.delete_version(key, id_)
                self.did(key, GONE, 0, id_)
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
