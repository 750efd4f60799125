# Sends an uploaded image to a recognition service (RECOGNITION_URL, which answers JSON) and writes what it says as
# an object beside the image, under labels/.
import datetime
import hashlib
import hmac
import os
import urllib.parse
import urllib.request


def s3(method, bucket, key, body=b""):
    """One request to S3, signed by hand so that nothing need be installed."""
    endpoint = urllib.parse.urlsplit(os.environ["S3_ENDPOINT"])
    region = os.environ.get("TENCENTCLOUD_REGION", "us-east-1")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = urllib.parse.quote("/%s/%s" % (bucket, key))
    digest = hashlib.sha256(body).hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    head = "host:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n" % (endpoint.netloc, digest, now)
    scope = "%s/%s/s3/aws4_request" % (now[:8], region)
    canonical = "\n".join([method, path, "", head, names, digest])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    sign = lambda secret, message: hmac.new(secret, message.encode(), hashlib.sha256).digest()
    secret = ("AWS4" + os.environ["S3_SECRET_KEY"]).encode()
    for part in (now[:8], region, "s3", "aws4_request"):
        secret = sign(secret, part)
    credential = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        os.environ["S3_ACCESS_KEY"], scope, names, sign(secret, text).hex())
    url = urllib.parse.urlunsplit((endpoint.scheme, endpoint.netloc, path, "", ""))
    request = urllib.request.Request(url, body if method == "PUT" else None, method=method)
    request.add_header("x-amz-content-sha256", digest)
    request.add_header("x-amz-date", now)
    request.add_header("authorization", credential)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def main_handler(event, context):
    for record in event["Records"]:
        bucket = record["cos"]["cosBucket"]
        key = record["cos"]["cosObject"]["key"].replace("/%s/%s/" % (bucket["appid"], bucket["name"]), "", 1)
        if key.startswith("labels/"):
            continue
        image = s3("GET", bucket["name"], key)
        request = urllib.request.Request(os.environ["RECOGNITION_URL"], image)
        request.add_header("content-type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=20) as answer:
            labels = answer.read()
        s3("PUT", bucket["name"], "labels/%s.json" % key, labels)
        print(key, labels[:200].decode(errors="replace"))
