# S3 as a function with a role reaches it, signed by hand so that nothing need be installed.
import datetime, hashlib, hmac, os, urllib.error, urllib.parse, urllib.request

def s3(method, bucket, key, body=b""):
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path, digest = urllib.parse.quote("/%s/%s" % (bucket, key)), hashlib.sha256(body).hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    head = "host:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n" % (endpoint.netloc, digest, now)
    scope = "%s/%s/s3/aws4_request" % (now[:8], os.environ["AWS_REGION"])
    canonical = "\n".join([method, path, "", head, names, digest])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    sign = lambda secret, message: hmac.new(secret, message.encode(), hashlib.sha256).digest()
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (now[:8], os.environ["AWS_REGION"], "s3", "aws4_request"):
        secret = sign(secret, part)
    request = urllib.request.Request("http://" + endpoint.netloc + path, body if method == "PUT" else None, method=method)
    request.add_header("x-amz-content-sha256", digest)
    request.add_header("x-amz-date", now)
    request.add_header("authorization", "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        os.environ["AWS_ACCESS_KEY_ID"], scope, names, sign(secret, text).hex()))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""

