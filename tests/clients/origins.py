"""An origin as COS's SDK for Python sets it: what boto3 and the SDK get of objects that are not there.

The origin is an HTTP server of this script's own. What is kept is an event, `ObjectCreated:Origin`, once.
"""

from botocore.exceptions import ClientError
from of_cos import PythonSdk
from pages import Pages
from world import DIR, ORIGIN, Target, hooked


def answers(client, code, **at):
    try:
        client.get_object(**at)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == code
    return False


def main():
    pages = Pages.serve()
    target = Target()
    server = hooked(target, "[origin]\nallow_private = true")
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
