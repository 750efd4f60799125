# Sends an uploaded image to a recognition service (RECOGNITION_URL, which answers JSON) and writes what it says as
# an object: labels/KEY.json in LABELS_BUCKET, or in the image's own bucket.
import datetime
import hashlib
import hmac
import os
import urllib.parse
import urllib.request


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
    for record in event["Records"]:
        bucket = record["cos"]["cosBucket"]
        # The key begins with /APPID/BUCKET/, as COS writes it.
        key = record["cos"]["cosObject"]["key"].replace("/%s/%s/" % (bucket["appid"], bucket["name"]), "", 1)
        if key.startswith("labels/"):
            continue
        image, _ = s3("GET", bucket["name"], key)
        request = urllib.request.Request(os.environ["RECOGNITION_URL"], image)
        request.add_header("content-type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=20) as answer:
            labels = answer.read()
        s3("PUT", os.environ.get("LABELS_BUCKET") or bucket["name"], "labels/%s.json" % key, labels)
        print(key, labels[:200].decode(errors="replace"))
