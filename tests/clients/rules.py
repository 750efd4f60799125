"""Rules through the bucket, as boto3 and the AWS CLI put them, and triggers: who gets what at real targets.

Arguments: the server's binary, an empty directory. Fails if a configuration is not shown as it was put, if a wrong one
is taken, or if a target gets another event than those that the rules of its moment match.
"""

import http.server
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
DEADLINE = 120  # seconds for one command, and for the last event
REGION = "ap-guangzhou"
PUT, GONE = "ObjectCreated:Put", "ObjectRemoved:Delete"
TARGETS = ["queue", "topic", "resize"]


class Target:
    """An HTTP receiver: each event once, in order, as (event, key, rule); a test event as (event, bucket)."""

    def __init__(self):
        self.seen, self.came, self.changed = set(), [], threading.Condition()
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with target.changed:
                    if self.headers["tidings-event-id"] not in target.seen:
                        target.seen.add(self.headers["tidings-event-id"])
                        target.take(body)
                    target.changed.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"

    def take(self, body):
        if "Event" in body:
            self.came.append((body["Event"], body["Bucket"]))
        for record in body.get("Records", []):
            s3 = record["s3"]
            key = urllib.parse.unquote_plus(s3["object"]["key"])
            self.came.append((record["eventName"], key, s3["configurationId"]))

    def expect(self, wanted):
        """Waits for these and no others. Objects' own order is kept; between objects there is none."""

        with self.changed:
            self.changed.wait_for(lambda: len(self.came) >= len(wanted), DEADLINE)
            assert sorted(self.came) == sorted(wanted), f"it has {self.came}\nbut was to have {wanted}"


class Server:
    """The real binary on free ports."""

    def __init__(self, targets):
        text = f'[server]\nlisten = "127.0.0.1:0"\ndata = "{DIR}/data"\n[admin]\nlisten = "127.0.0.1:0"\n'
        for name, target in targets.items():
            text += f'[target.{name}]\nbackoff_min = "10ms"\n[target.{name}.connector.http]\nurl = "{target.url}"\n'
        (DIR / "tidings.toml").write_text(text)
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

    def client(self):
        access, secret = self.pair
        keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **keys)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)

    def tidings(self, *words):
        where = ["--config", str(DIR / "tidings.toml"), "--admin", self.admin, "--json"]
        done = subprocess.run([BINARY, *words, *where], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def aws(self, *words):
        access, secret = self.pair
        none = str(DIR / "none")
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(DIR),
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": none,
            "AWS_SHARED_CREDENTIALS_FILE": none,
        }
        aws = pathlib.Path(sys.executable).with_name("aws")
        command = [aws, "--endpoint-url", self.endpoint, *words]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was to be answered")


def shown(s3):
    answer = s3.get_bucket_notification_configuration(Bucket="photos")
    answer.pop("ResponseMetadata")
    return answer


def main():
    targets = {name: Target() for name in TARGETS}
    server = Server(targets)
    try:
        run(server, targets)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE) == 0, "the server did not stop in order"
    finally:
        server.process.kill()
    print(f"{sum(len(t.came) for t in targets.values())} events, each at the target of its rule")


def run(server, targets):
    s3 = server.client()
    s3.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert shown(s3) == {}
    s3.put_object(Bucket="photos", Key="in/before", Body=b"x")
    account = "123456789012"
    queue = {
        "Id": "incoming",
        "QueueArn": f"arn:aws:sqs:{REGION}:{account}:queue",
        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/a+b%2B/"}]}},
    }
    topic = {
        "Id": "other",
        "TopicArn": f"arn:tidings:sns:{REGION}::topic",
        "Events": ["s3:ObjectRemoved:Delete"],
        "Filter": {"Key": {"FilterRules": [{"Name": "Suffix", "Value": ".txt"}, {"Name": "Prefix", "Value": "out/"}]}},
    }
    both = {"QueueConfigurations": [queue], "TopicConfigurations": [topic]}
    s3.put_bucket_notification_configuration(Bucket="photos", NotificationConfiguration=both)
    assert shown(s3) == both, shown(s3)

    def put(**configuration):
        refused(
            "InvalidArgument",
            s3.put_bucket_notification_configuration,
            Bucket="photos",
            NotificationConfiguration=configuration,
        )

    put(QueueConfigurations=[{**queue, "QueueArn": f"arn:aws:sqs:us-east-1:{account}:queue"}])
    put(QueueConfigurations=[{**queue, "QueueArn": f"arn:aws:sqs:{REGION}:{account}:nobody"}])
    put(QueueConfigurations=[{**queue, "Events": ["s3:ObjectTagging:*"]}])
    put(QueueConfigurations=[queue, {**queue, "Id": "again"}])
    assert shown(s3) == both, "a wrong one changes nothing"

    for key in ["in/a b+/1", "in/a b/1", "out/1.txt", "out/1.jpg"]:
        s3.put_object(Bucket="photos", Key=key, Body=b"x")
        s3.delete_object(Bucket="photos", Key=key)
    of_queue = [("s3:TestEvent", "photos"), (PUT, "in/a b+/1", "incoming"), (GONE, "in/a b+/1", "incoming")]
    of_topic = [("s3:TestEvent", "photos"), (GONE, "out/1.txt", "other")]
    targets["queue"].expect(of_queue)
    targets["topic"].expect(of_topic)

    # A trigger is the other view of a CloudFunctionConfiguration; what is put is all there is.
    words = ["--bucket", "photos", "--event", "cos:ObjectCreated:*", "--prefix", "pics/", "--suffix", ".jpg"]
    made = server.tidings("trigger", "add", "resize", *words)
    [function] = shown(s3)["LambdaFunctionConfigurations"]
    assert function["Id"] == made["id"] and function["Events"] == ["cos:ObjectCreated:*"], function
    s3.put_object(Bucket="photos", Key="pics/cat.jpg", Body=b"x")
    server.kill()
    server.start()
    s3 = server.client()
    assert shown(s3) == {**both, "LambdaFunctionConfigurations": [function]}, shown(s3)
    s3.put_object(Bucket="photos", Key="pics/dog.jpg", Body=b"x")
    of_resize = [(PUT, "pics/cat.jpg", made["id"]), (PUT, "pics/dog.jpg", made["id"])]
    targets["resize"].expect(of_resize)

    # The same from the AWS CLI, with a function of its own making and no id.
    arn = f"arn:aws:lambda:{REGION}:{account}:function:resize"
    configuration = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:Put"]}]}
    (DIR / "rules.json").write_text(json.dumps(configuration))
    where = ["--bucket", "photos"]
    api = ["s3api", "put-bucket-notification-configuration", *where]
    server.aws(*api, "--notification-configuration", f"file://{DIR}/rules.json")
    told = json.loads(server.aws("s3api", "get-bucket-notification-configuration", *where))
    [function] = told["LambdaFunctionConfigurations"]
    assert function.pop("Id") and {"LambdaFunctionConfigurations": [function]} == configuration, told
    [trigger] = server.tidings("trigger", "ls")["triggers"]
    assert trigger["target"] == "resize" and trigger["active"], trigger
    server.aws("s3", "cp", str(DIR / "rules.json"), "s3://photos/in/a b+/2")
    of_resize.append((PUT, "in/a b+/2", trigger["id"]))
    server.aws(*api, "--notification-configuration", "{}")
    assert shown(s3) == {}
    s3.put_object(Bucket="photos", Key="pics/cow.jpg", Body=b"x")
    for name, wanted in [("resize", of_resize), ("queue", of_queue), ("topic", of_topic)]:
        targets[name].expect(wanted)
    for target in server.tidings("target", "ls")["targets"]:
        assert target["books_imbalance"] == 0, target


main()
