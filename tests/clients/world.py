"""What the tests of clients share: the real binary, and an HTTP target that keeps what it gets.

Arguments of each of them: the server's binary, an empty directory.
"""

import asyncio
import concurrent.futures
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
from botocore.exceptions import ClientError

BINARY, DIR = sys.argv[1], pathlib.Path(sys.argv[2])
DEADLINE = 240  # seconds for one command, and for the last event
PUT, COPY = "ObjectCreated:Put", "ObjectCreated:Copy"
PARTS, GONE = "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:Delete"
POST = "ObjectCreated:Post"
HIDDEN = "ObjectRemoved:DeleteMarkerCreated"
ORIGIN = "ObjectCreated:Origin"
ASKED, RESTORED = "ObjectRestore:Post", "ObjectRestore:Completed"
REGION = "ap-guangzhou"


class Target:
    """An HTTP receiver that keeps each event once, and wakes whoever waits for more."""

    def __init__(self):
        self.seen, self.events, self.changed = set(), {}, threading.Condition()
        loop, listening = asyncio.new_event_loop(), concurrent.futures.Future()

        async def listen():
            server = await loop.create_server(lambda: Posts(self), "127.0.0.1", 0)
            listening.set_result(server.sockets[0].getsockname()[1])

        loop.create_task(listen())
        threading.Thread(target=loop.run_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{listening.result(DEADLINE)}/events"

    def post(self, event_id, body):
        with self.changed:
            if event_id not in self.seen:
                self.seen.add(event_id)
                self.read(json.loads(body))
            self.changed.notify_all()

    def read(self, body):
        for record in body["Records"]:
            self.take(record)

    def take(self, record):
        s3 = record["s3"]
        key = urllib.parse.unquote_plus(s3["object"]["key"])
        told = (record["eventName"], s3["object"].get("size", 0))
        if "versionId" in s3["object"]:
            told += (s3["object"]["versionId"],)
        self.events.setdefault((s3["bucket"]["name"], key), []).append(told)

    def wait(self, bucket, key, name):
        """Waits until an event of this name came for an object."""

        came = lambda: any(told[0] == name for told in self.events.get((bucket, key), []))
        with self.changed:
            assert self.changed.wait_for(came, DEADLINE), f"{bucket}/{key}: no {name}"

    def expect(self, wanted):
        """Waits for these events and no others: (bucket, key) to a list of (name, size), and the version's id
        where the bucket has versions."""

        count = sum(map(len, wanted.values()))
        with self.changed:
            self.changed.wait_for(lambda: len(self.seen) >= count, DEADLINE)
            wrong = [at for at in self.events.keys() | wanted if self.events.get(at) != wanted.get(at)]
            differ = [f"{at}: has {self.events.get(at)}, was to have {wanted.get(at)}" for at in wrong[:20]]
            assert not wrong, f"{len(wrong)} objects' events differ at the target:\n" + "\n".join(differ)


class Posts(asyncio.Protocol):
    """One connection to the target: requests one after another, each with a length."""

    HEADERS = re.compile(rb"\r\n(content-length|tidings-event-id): *([^\r\n]*)", re.IGNORECASE)

    def __init__(self, target):
        self.target, self.buffer = target, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            headers = {name.lower(): value for name, value in self.HEADERS.findall(self.buffer[:end])}
            end, length = end + 4, int(headers[b"content-length"])
            if len(self.buffer) < end + length:
                return
            body, self.buffer = self.buffer[end : end + length], self.buffer[end + length :]
            self.target.post(headers[b"tidings-event-id"], body)
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


class Server:
    """The real binary on free ports."""

    def __init__(self, sections):
        """`sections` is TOML: the targets, and what else there is to say."""

        text = f'[server]\nlisten = "127.0.0.1:0"\ndata = "{DIR}/data"\n[admin]\nlisten = "127.0.0.1:0"\n'
        (DIR / "tidings.toml").write_text(text + sections)
        self.start()

    def start(self):
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

    def client(self, pair=None, **settings):
        """boto3 with its default settings."""

        access, secret = pair or self.pair
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name=REGION,
            **settings,
        )

    def aws(self, *words):
        """What the AWS CLI prints, with its default settings."""
        return self.aws_of("s3", *words)

    def aws_api(self, *words):
        """The same of its commands that are S3's operations."""
        return self.aws_of("s3api", *words)

    def aws_of(self, service, *words):
        """The same of one of its services."""

        done = self.run_aws(service, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def run_aws(self, service, *words):
        """How one of its commands ended."""

        none = str(DIR / "none")
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(DIR),
            "AWS_ACCESS_KEY_ID": self.pair[0],
            "AWS_SECRET_ACCESS_KEY": self.pair[1],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": none,
            "AWS_SHARED_CREDENTIALS_FILE": none,
        }
        aws = pathlib.Path(sys.executable).with_name("aws")
        command = [aws, "--endpoint-url", self.endpoint, service, *words]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=DEADLINE)

    def tidings(self, *words):
        """What one of our own commands prints."""
        return json.loads(self.local(*words, "--admin", self.admin, "--json"))

    def local(self, *words):
        """The same of one that asks no server and knows no JSON."""

        command = [BINARY, *words, "--config", str(DIR / "tidings.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def settle(self):
        """Waits until the target of `hooked` has all that the server has for it."""

        target = self.target
        matched = self.tidings("target", "show", "hook")["books"]["matched"]
        with target.changed:
            came = target.changed.wait_for(lambda: len(target.seen) >= matched, DEADLINE)
            assert came, f"{len(target.seen)} of {matched} events came"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0, "the server did not stop in order"

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)


def hooked(target, more=""):
    """A server that tells one target of everything; `more` is TOML of other sections."""

    server = Server(
        f"""
[target.hook.connector.http]
url = "{target.url}"
[[target.hook.rule]]
bucket = "*"
events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:*"]
{more}
"""
    )
    server.target = target
    return server


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was to be answered")


def make_bucket(s3, name):
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


def run(work, more=""):
    """Starts both, lets `work(server, wanted)` do what it does, and compares what the target has with what it
    wanted."""

    target, wanted = Target(), {}
    server = hooked(target, more)
    try:
        work(server, wanted)
        target.expect(wanted)
        server.stop()
        # Nothing came after it either.
        target.expect(wanted)
    finally:
        server.process.kill()
    print(f"{sum(map(len, wanted.values()))} events of {len(wanted)} objects, each as it was to be")
