"""Rules through the bucket, as boto3 and the AWS CLI put them, and triggers: who gets what at real targets.

Arguments: the server's binary, an empty directory. Fails if a configuration is not shown as it was put, if a wrong one
is taken, or if a target gets another event than those that the rules of its moment match.
"""

import json
import urllib.parse

import world
from world import DEADLINE, DIR, GONE, PUT, REGION, make_bucket, refused

TARGETS = ["queue", "topic", "resize"]


class Target(world.Target):
    """Each event once, in order, as (event, key, rule); a test event as (event, bucket)."""

    def __init__(self):
        super().__init__()
        self.came = []

    def read(self, body):
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


def section(name, target):
    return f'[target.{name}]\nbackoff_min = "10ms"\n[target.{name}.connector.http]\nurl = "{target.url}"\n'


def shown(s3):
    answer = s3.get_bucket_notification_configuration(Bucket="photos")
    answer.pop("ResponseMetadata")
    return answer


def main():
    targets = {name: Target() for name in TARGETS}
    server = world.Server("".join(section(*named) for named in targets.items()))
    try:
        run(server, targets)
        server.stop()
    finally:
        server.process.kill()
    print(f"{sum(len(t.came) for t in targets.values())} events, each at the target of its rule")


def run(server, targets):
    s3 = server.client()
    make_bucket(s3, "photos")
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
    api = ["put-bucket-notification-configuration", *where]
    server.aws_api(*api, "--notification-configuration", f"file://{DIR}/rules.json")
    told = json.loads(server.aws_api("get-bucket-notification-configuration", *where))
    [function] = told["LambdaFunctionConfigurations"]
    assert function.pop("Id") and {"LambdaFunctionConfigurations": [function]} == configuration, told
    [trigger] = server.tidings("trigger", "ls")["triggers"]
    assert trigger["target"] == "resize" and trigger["active"], trigger
    server.aws("cp", str(DIR / "rules.json"), "s3://photos/in/a b+/2")
    of_resize.append((PUT, "in/a b+/2", trigger["id"]))
    server.aws_api(*api, "--notification-configuration", "{}")
    assert shown(s3) == {}
    s3.put_object(Bucket="photos", Key="pics/cow.jpg", Body=b"x")
    for name, wanted in [("resize", of_resize), ("queue", of_queue), ("topic", of_topic)]:
        targets[name].expect(wanted)
    for target in server.tidings("target", "ls")["targets"]:
        assert target["books_imbalance"] == 0, target


main()
