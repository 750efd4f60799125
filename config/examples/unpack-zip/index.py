# Unpacks a zip file on upload: every file in it becomes an object of DESTINATION_BUCKET under DESTINATION_PREFIX.
# Let its trigger name the prefix and suffix of the uploads only, so that what is written here triggers nothing.
import datetime
import hashlib
import hmac
import io
import os
import urllib.parse
import urllib.request
import zipfile

# Larger files, and archives with more of them, are refused: the event fails and stands in the run log.
MAX_FILE, MAX_FILES = 100 << 20, 10_000


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


def main_handler(event, context):
    written = []
    for record in event["Records"]:
        bucket = record["cos"]["cosBucket"]
        # The key begins with /APPID/BUCKET/, as COS writes it.
        key = record["cos"]["cosObject"]["key"].replace("/%s/%s/" % (bucket["appid"], bucket["name"]), "", 1)
        archive, _ = s3("GET", bucket["name"], key)
        archive = zipfile.ZipFile(io.BytesIO(archive))
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(files) > MAX_FILES or any(entry.file_size > MAX_FILE for entry in files):
            raise ValueError("%s holds too much" % key)
        for entry in files:
            place = os.environ.get("DESTINATION_PREFIX", "") + entry.filename.lstrip("/")
            s3("PUT", os.environ.get("DESTINATION_BUCKET") or bucket["name"], place, archive.read(entry))
            written.append(place)
    print("unpacked", written)
    return {"written": written}
