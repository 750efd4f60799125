"""Many of everything: an object of 10,000 parts, and lists of 100,000 keys while others write.

Arguments: the server's binary, an empty directory. Fails if a client is told what it should not be, if bytes do
not come back, if a list lacks or repeats a key or invents one, or if the target does not get exactly the events
of what was done.
"""

import concurrent.futures
import hashlib
import hmac
import http.client
import multiprocessing
import os
import random
import threading
import time

import botocore.config

import world
from world import GONE, PARTS, PUT, REGION, make_bucket, refused

PART_COUNT = 10_000
KEYS = 100_000
FOLDERS = 50
WRITERS = 2
# Each upload is one connection at a time.
AT_ONCE = 8


def key(n):
    """Folders of folders: 50 of 20 with 100 keys each."""

    return f"{n % FOLDERS:02}/{n // FOLDERS % 20:02}/{n:06}"


def parts(server, wanted):
    s3 = server.client(config=botocore.config.Config(max_pool_connections=AT_ONCE))
    make_bucket(s3, "parts")
    at = {"Bucket": "parts", "Key": "of 10,000 parts"}
    upload = s3.create_multipart_upload(**at)["UploadId"]
    bytes_ = [random.randbytes(random.randrange(1, 200)) for _ in range(PART_COUNT)]

    def put(n):
        return s3.upload_part(**at, UploadId=upload, PartNumber=n + 1, Body=bytes_[n])["ETag"]

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        # Out of order, as clients with many connections come.
        order = random.sample(range(PART_COUNT), PART_COUNT)
        etags = dict(zip(order, pool.map(put, order)))
    for wrong in [0, PART_COUNT + 1]:
        refused("InvalidArgument", s3.upload_part, **at, UploadId=upload, PartNumber=wrong, Body=b"x")
    told = [
        (part["PartNumber"], part["Size"], part["ETag"])
        for page in s3.get_paginator("list_parts").paginate(**at, UploadId=upload)
        for part in page["Parts"]
    ]
    assert told == [(n + 1, len(bytes_[n]), etags[n]) for n in range(PART_COUNT)], "parts are not as uploaded"

    every = [{"PartNumber": n + 1, "ETag": etags[n]} for n in range(PART_COUNT)]
    complete = dict(**at, UploadId=upload)
    swapped = [every[1], every[0], *every[2:]]
    refused("InvalidPartOrder", s3.complete_multipart_upload, **complete, MultipartUpload={"Parts": swapped})
    changed = [*every[:-1], {**every[-1], "ETag": '"' + "0" * 32 + '"'}]
    refused("InvalidPart", s3.complete_multipart_upload, **complete, MultipartUpload={"Parts": changed})
    more = [*every, {"PartNumber": PART_COUNT + 1, "ETag": etags[0]}]
    refused("MalformedXML", s3.complete_multipart_upload, **complete, MultipartUpload={"Parts": more})
    first = s3.complete_multipart_upload(**complete, MultipartUpload={"Parts": every})
    again = s3.complete_multipart_upload(**complete, MultipartUpload={"Parts": every})
    sums = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in bytes_)
    etag = f'"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{PART_COUNT}"'
    assert first["ETag"] == again["ETag"] == etag, (first, again)
    whole = b"".join(bytes_)
    assert s3.get_object(**at)["Body"].read() == whole, "10,000 parts did not come back as one object"
    middle = len(whole) // 2
    got = s3.get_object(**at, Range=f"bytes={middle}-{middle + 4999}")["Body"].read()
    assert got == whole[middle : middle + 5000], "a range over many parts did not come back"
    last = s3.get_object(**at, PartNumber=PART_COUNT)
    assert last["PartsCount"] == PART_COUNT and last["Body"].read() == bytes_[-1], last
    refused("NoSuchUpload", s3.list_parts, **complete)
    wanted["parts", at["Key"]] = [(PARTS, len(whole))]


class Put:
    """A PUT of a few bytes, signed by hand: a fraction of the work of boto3's, which is not tested here."""

    def __init__(self, server, bucket):
        self.bucket, self.host = bucket, server.endpoint.split("//")[1]
        self.access, self.secret = server.pair
        self.connection = http.client.HTTPConnection(self.host)

    def __call__(self, key, body):
        now, names = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), "host;x-amz-content-sha256;x-amz-date"
        path, sha = f"/{self.bucket}/{key}", hashlib.sha256(body).hexdigest()
        head = f"host:{self.host}\nx-amz-content-sha256:{sha}\nx-amz-date:{now}\n"
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        asked = hashlib.sha256(f"PUT\n{path}\n\n{head}\n{names}\n{sha}".encode()).hexdigest()
        secret = f"AWS4{self.secret}".encode()
        for step in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{asked}"]:
            secret = hmac.digest(secret, step.encode(), "sha256")
        signed = f"Credential={self.access}/{scope}, SignedHeaders={names}, Signature={secret.hex()}"
        headers = {"x-amz-content-sha256": sha, "x-amz-date": now}
        headers["authorization"] = f"AWS4-HMAC-SHA256 {signed}"
        self.connection.request("PUT", path, body, headers)
        answer = self.connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()


class Place:
    """What a process of its own needs to know of a server."""

    def __init__(self, server):
        self.endpoint, self.pair = server.endpoint, server.pair


def fill(place, turn):
    put = Put(place, "many")
    for n in range(turn, KEYS, WRITERS):
        put(key(n), b"%d" % n)


def pages(s3, **arguments):
    """All that a list says: keys and prefixes, in the order of the answers."""

    keys, prefixes = [], []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="many", **arguments):
        keys += [found["Key"] for found in page.get("Contents", [])]
        prefixes += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
    return keys, prefixes


class Others:
    """A client that writes and deletes keys of its own, between all others, while they are listed."""

    def __init__(self, server):
        self.s3, self.stop, self.done = server.client(), threading.Event(), {}
        self.random, self.failed = random.Random(1), None
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        try:
            while not self.stop.is_set():
                self.change()
        except Exception as error:
            self.failed = error

    def change(self):
        # Behind a key of the list, so that it falls into every page.
        name = key(self.random.randrange(KEYS)) + "+"
        told = self.done.setdefault(("many", name), [])
        if told and told[-1][0] == PUT:
            self.s3.delete_object(Bucket="many", Key=name)
            told.append((GONE, 0))
        else:
            self.s3.put_object(Bucket="many", Key=name, Body=b"other")
            told.append((PUT, 5))

    def end(self):
        self.stop.set()
        self.thread.join()
        assert self.failed is None, self.failed


def check(listed, every, what):
    """Every key that nobody touches, once and in order; of the others' keys none twice."""

    assert listed == sorted(set(listed)), f"{what}: keys are out of order, or came twice"
    ours = [name for name in listed if not name.endswith("+")]
    assert ours == every, f"{what}: {len(ours)} keys of {len(every)}"


def many(server, wanted):
    s3 = server.client()
    make_bucket(s3, "many")
    processes = multiprocessing.get_context("fork")
    writers = [processes.Process(target=fill, args=(Place(server), turn)) for turn in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0, "a writer failed, see above"
    every = sorted(key(n) for n in range(KEYS))
    for n in range(KEYS):
        wanted["many", key(n)] = [(PUT, len(str(n)))]

    others = Others(server)
    check(pages(s3)[0], every, "all keys")
    folders = [f"{n:02}/" for n in range(FOLDERS)]
    for size in [1000, 7]:
        keys, prefixes = pages(s3, Delimiter="/", PaginationConfig={"PageSize": size})
        assert (keys, prefixes) == ([], folders), f"top folders in pages of {size}"
    inner = [f"07/{n:02}/" for n in range(20)]
    for size in [1000, 3]:
        keys, prefixes = pages(s3, Delimiter="/", Prefix="07/", PaginationConfig={"PageSize": size})
        assert (keys, prefixes) == ([], inner), f"folders of a folder in pages of {size}"
    for folder in random.sample(folders, 3):
        of = [name for name in every if name.startswith(folder)]
        check(pages(s3, Prefix=folder, PaginationConfig={"PageSize": 77})[0], of, folder)
        keys, prefixes = pages(s3, Delimiter="/", Prefix=f"{folder}19/")
        check(keys, [name for name in of if name.startswith(f"{folder}19/")], f"{folder}19/")
        assert prefixes == [], prefixes
    behind = every[KEYS // 3]
    check(pages(s3, StartAfter=behind)[0], [name for name in every if name > behind], "from the middle on")
    old = s3.get_paginator("list_objects").paginate(Bucket="many", Prefix="49/")
    old = [found["Key"] for page in old for found in page["Contents"]]
    check(old, [name for name in every if name.startswith("49/")], "the older list")
    shown = server.aws("ls", "s3://many/").splitlines()
    assert [line.split()[-1] for line in shown] == folders, shown
    others.end()
    wanted.update(others.done)
    left = sorted(every + [name for (_, name), told in others.done.items() if told[-1][0] == PUT])
    assert pages(s3)[0] == left, "the last list is not what is there"
    print(f"{sum(map(len, others.done.values()))} changes were made while {KEYS} keys were listed")


def work(server, wanted):
    parts(server, wanted)
    many(server, wanted)


random.seed(int(os.environ.get("TIDINGS_SEED", "1")))
world.run(work, '[store]\nmin_part_bytes = "1"\n')
