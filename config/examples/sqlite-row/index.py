# Writes a row for each change into an SQLite database. A repeated event changes nothing: its request id is the
# row's key. With DATABASE_BUCKET the database is the object DATABASE_KEY (changes.db) there, read before each
# event and written back after it; without it, a file in the instance's /tmp, which ends with the instance.
import datetime
import hashlib
import hmac
import os
import sqlite3
import urllib.error
import urllib.parse
import urllib.request

FILE = "/tmp/changes.db"
TABLE = "CREATE TABLE IF NOT EXISTS changes (id TEXT PRIMARY KEY, event TEXT, key TEXT, size INTEGER, time INTEGER)"


def s3(method, bucket, key, body=b"", only_if=None):
    """One request to S3, signed by hand so that nothing need be installed: its answer's body, and its ETag."""
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    region = os.environ["TENCENTCLOUD_REGION"]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = urllib.parse.quote("/%s/%s" % (bucket, key), safe="/~")
    digest = hashlib.sha256(body).hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    head = "host:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n" % (endpoint.netloc, digest, now)
    scope = "%s/%s/s3/aws4_request" % (now[:8], region)
    canonical = "\n".join([method, path, "", head, names, digest])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (now[:8], region, "s3", "aws4_request", text):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    credential = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        os.environ["AWS_ACCESS_KEY_ID"], scope, names, secret.hex())
    url = urllib.parse.urlunsplit((endpoint.scheme, endpoint.netloc, path, "", ""))
    request = urllib.request.Request(url, body if method == "PUT" else None, method=method)
    for name, value in [("x-amz-content-sha256", digest), ("x-amz-date", now), ("authorization", credential)]:
        request.add_header(name, value)
    if only_if is not None:
        request.add_header(*only_if)
    # An answer that is no success is raised as an exception: the event is tried again.
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read(), answer.headers.get("etag")


def fetch(bucket, key):
    """Puts the object in the file's place; what must hold for it when it is written back."""
    try:
        content, etag = s3("GET", bucket, key)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        content, etag = b"", None
    with open(FILE, "wb") as file:
        file.write(content)
    return ("if-match", etag) if etag else ("if-none-match", "*")


def main_handler(event, context):
    bucket, key = os.environ.get("DATABASE_BUCKET"), os.environ.get("DATABASE_KEY", "changes.db")
    # Whoever wrote meanwhile wins: then the answer is 412, and this event is tried again with what is there.
    only_if = fetch(bucket, key) if bucket else None
    database = sqlite3.connect(FILE)
    with database:
        database.execute(TABLE)
        for number, record in enumerate(event["Records"]):
            about = record["cos"]["cosObject"]
            row = ("%s-%d" % (context["request_id"], number), record["event"]["eventName"])
            row += (about["key"].split("/", 3)[-1], about["size"], record["event"]["eventTime"])
            database.execute("INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?)", row)
    rows = database.execute("SELECT count(*) FROM changes").fetchone()[0]
    database.close()
    if bucket:
        with open(FILE, "rb") as file:
            s3("PUT", bucket, key, file.read(), only_if)
    return {"rows": rows}
