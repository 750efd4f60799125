"""A form with a large file, of each family: what it costs the server in memory does not grow with it.

Arguments: the server's binary, an empty directory. The file has TIDINGS_TEST_FORM_BYTES bytes, 256 MiB if that is not
set. Fails if the server took more memory than its bound, or if the file is not what was sent.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import time

import world
from world import GONE, POST, REGION, make_bucket

BYTES = int(os.environ.get("TIDINGS_TEST_FORM_BYTES", 256 << 20))
BLOCK = os.urandom(1 << 20)
BOUNDARY = "----of-a-large-form"
BUCKET = "large-1250000000"
# What the server may take more than before, at its most.
MIB_MORE = 64


def file():
    """The bytes of the file, in blocks."""
    whole, rest = divmod(BYTES, len(BLOCK))
    for _ in range(whole):
        yield BLOCK
    yield BLOCK[:rest]


def of_s3(server, key):
    """The fields as boto3 signs them, and the host that they go to."""
    rules = [["content-length-range", 1, BYTES]]
    signed = server.client().generate_presigned_post(BUCKET, key, Conditions=rules)
    return signed["fields"], f"/{BUCKET}", None


def of_cos(server, key):
    """The fields as COS's documentation signs them."""
    access, secret = server.pair
    now = int(time.time())
    key_time = f"{now};{now + 3600}"
    until = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now + 3600))
    rules = [{"q-sign-algorithm": "sha1"}, {"q-ak": access}, {"q-sign-time": key_time}, {"key": key}]
    rules.append(["content-length-range", 1, BYTES])
    policy = json.dumps({"expiration": until, "conditions": rules})
    sign_key = hmac.new(secret.encode(), key_time.encode(), "sha1").hexdigest()
    to_sign = hashlib.sha1(policy.encode(), usedforsecurity=False).hexdigest()
    fields = {
        "key": key,
        "policy": base64.b64encode(policy.encode()).decode(),
        "q-sign-algorithm": "sha1",
        "q-ak": access,
        "q-key-time": key_time,
        "q-signature": hmac.new(sign_key.encode(), to_sign.encode(), "sha1").hexdigest(),
    }
    return fields, "/", f"{BUCKET}.cos.{REGION}.myqcloud.com"


def post(server, fields, path, host):
    """Sends the form, its file last, block by block; gives status and ETag."""
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    tail = f"\r\n--{BOUNDARY}--\r\n"
    address = server.endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=world.DEADLINE)
    connection.putrequest("POST", path, skip_host=True)
    connection.putheader("Host", host or address)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + BYTES + len(tail)))
    connection.endheaders(head.encode())
    for block in file():
        connection.send(block)
    connection.send(tail.encode())
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["ETag"].strip('"')


def memory(server, what):
    """MiB: `VmRSS` now, `VmHWM` at most."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(rf"{what}:\s+(\d+) kB", status.read())[1]) / 1024


def work(server, wanted):
    s3 = server.client()
    make_bucket(s3, BUCKET)
    md5 = hashlib.md5(usedforsecurity=False)
    for block in file():
        md5.update(block)
    for family in [of_s3, of_cos]:
        key, before, began = family.__name__, memory(server, "VmRSS"), time.monotonic()
        status, etag = post(server, *family(server, key))
        assert (status, etag) == (204, md5.hexdigest()), (status, etag)
        peak, took = memory(server, "VmHWM"), time.monotonic() - began
        print(f"{key}: {BYTES} bytes in {took:.0f} s: {before:.1f} MiB before, {peak:.1f} MiB at most")
        assert peak - before < MIB_MORE, f"it took {peak - before:.1f} MiB more"
        end = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=-1000")
        assert end["ContentRange"] == f"bytes {BYTES - 1000}-{BYTES - 1}/{BYTES}", end
        assert end["Body"].read() == (BLOCK + BLOCK[: BYTES % len(BLOCK)])[-1000:]
        s3.delete_object(Bucket=BUCKET, Key=key)
        wanted[BUCKET, key] = [(POST, BYTES), (GONE, 0)]


world.run(work)
