"""An origin as COS's SDK for Python sets it: what boto3 and the SDK get of objects that are not there.

The origin is an HTTP server of this script's own. What is kept is an event, `ObjectCreated:Origin`, once.
"""

import http.server
import threading

from botocore.exceptions import ClientError
from of_cos import PythonSdk
from world import DIR, Server, Target

ORIGIN = "ObjectCreated:Origin"


class Pages(http.server.BaseHTTPRequestHandler):
    """Every path below /site is its own name; /site/broken fails, everything else is not there."""

    asked = []

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("x-team")))
        status = 500 if self.path == "/site/broken" else 200 if self.path.startswith("/site/") else 404
        body = self.path.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("x-cos-meta-from", "origin")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def answers(client, code, **at):
    try:
        client.get_object(**at)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == code
    return False


def main():
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    target = Target()
    server = Server(target, "[origin]\nallow_private = true")
    sdk, s3 = PythonSdk(server, DIR), server.client()
    sdk.create()
    rule = {
        "RulePriority": "1",
        "OriginType": "Mirror",
        "OriginCondition": {"HTTPStatusCode": "404", "Prefix": "in/"},
        "OriginParameter": {
            "Protocol": "HTTP",
            "FollowQueryString": "true",
            "HttpHeader": {"NewHttpHeaders": {"Header": [{"Key": "x-team", "Value": "ours"}]}},
            "FollowRedirection": "true",
            "HttpRedirectCode": "302",
        },
        "OriginInfo": {
            "HostInfo": {"HostName": f"127.0.0.1:{pages.server_port}"},
            "FileInfo": {"PrefixConfiguration": {"Prefix": "site/"}},
        },
    }
    sdk.cos.put_bucket_origin(Bucket=sdk.bucket, OriginConfiguration={"OriginRule": [rule]})
    shown = sdk.cos.get_bucket_origin(Bucket=sdk.bucket)["OriginRule"]
    assert shown[0]["OriginInfo"]["HostInfo"]["HostName"] == rule["OriginInfo"]["HostInfo"]["HostName"], shown
    got = sdk.cos.get_object(**sdk.at("in/a"))
    assert got["Body"].get_raw_stream().read() == b"/site/in/a", got
    assert got["x-cos-meta-from"] == "origin" and got["Content-Type"] == "text/plain", got
    for _ in range(2):
        got = s3.get_object(Bucket=sdk.bucket, Key="in/b")
        assert got["Body"].read() == b"/site/in/b" and got["Metadata"] == {"from": "origin"}, got
    assert Pages.asked == [("/site/in/a", "ours"), ("/site/in/b", "ours")], Pages.asked
    assert answers(s3, 404, Bucket=sdk.bucket, Key="out"), "no rule is for it"
    rule["OriginCondition"]["Prefix"] = "broken"
    sdk.cos.put_bucket_origin(Bucket=sdk.bucket, OriginConfiguration={"OriginRule": [rule]})
    assert answers(s3, 424, Bucket=sdk.bucket, Key="broken"), "an origin that fails"
    sdk.cos.delete_bucket_origin(Bucket=sdk.bucket)
    assert answers(s3, 404, Bucket=sdk.bucket, Key="broken"), "nobody is asked any more"
    target.expect({(sdk.bucket, key): [(ORIGIN, 10)] for key in ("in/a", "in/b")})
    server.settle()
    server.stop()
    pages.shutdown()
    print("origins: ok")


if __name__ == "__main__":
    main()
