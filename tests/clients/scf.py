"""Functions by our own commands and by the vendor's tools: tccli and the SDK for Python, against the API of SCF.

Arguments: the server's binary, an empty directory. Fails if one of the steps (create, try, bind, change an object, read
the run log) does not do what it does at the vendor's, or if a request is taken that must not be.
"""

import base64
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import zipfile

# Before anything imports the copy that comes with tccli.
sys.path.insert(0, str(pathlib.Path(sys.prefix) / "scf"))

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.scf.v20180416 import models, scf_client

import world
from world import DEADLINE, DIR, GONE, PUT, REGION, make_bucket

HANDLER = """
import os

def main_handler(event, context):
    for record in event.get("Records", []):
        bucket, appid = record["cos"]["cosBucket"]["name"], record["cos"]["cosBucket"]["appid"]
        key = record["cos"]["cosObject"]["key"].replace("/" + str(appid) + "/" + bucket + "/", "", 1)
        print("%s %s" % (record["event"]["eventName"], key))
        if key.endswith(".bad"):
            raise ValueError("no such picture")
    return "%s has seen %d" % (os.environ.get("NAME"), len(event.get("Records", [])))
"""
MADE = "cos:ObjectCreated:*"


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def host(bucket):
    return f"{bucket}.cos.{REGION}.myqcloud.com"


def described(prefix, suffix=""):
    return json.dumps({"event": MADE, "filter": {"Prefix": prefix, "Suffix": suffix}}, separators=(",", ":"))


class Cli:
    """tccli as its users call it: each parameter a word of its own."""

    def __init__(self, server):
        self.server = server

    def run(self, action, **parameters):
        words = ["scf", action, "--endpoint", f"http://{self.server.admin}", "--region", REGION]
        words += ["--secretId", self.server.pair[0], "--secretKey", self.server.pair[1]]
        for name, value in parameters.items():
            words += ["--" + name, value if isinstance(value, str) else json.dumps(value)]
        command = [pathlib.Path(sys.executable).with_name("tccli"), *words]
        variables = {"PATH": os.environ["PATH"], "HOME": str(DIR), "LANG": "C.UTF-8"}
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=DEADLINE)

    def __call__(self, action, **parameters):
        done = self.run(action, **parameters)
        assert done.returncode == 0, f"{action}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def refused(self, code, action, **parameters):
        done = self.run(action, **parameters)
        assert done.returncode != 0 and code in done.stdout + done.stderr, f"{action}: {done.stdout}{done.stderr}"


def sdk(server, pair=None):
    """The vendor's client for Python."""

    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=server.admin))
    return scf_client.ScfClient(Credential(*(pair or server.pair)), REGION, profile)


def ask(client, action, **parameters):
    request = getattr(models, action + "Request")()
    request.from_json_string(json.dumps(parameters))
    return json.loads(getattr(client, action)(request).to_json_string())


def sdk_refused(code, client, action, **parameters):
    try:
        ask(client, action, **parameters)
    except TencentCloudSDKException as error:
        assert error.get_code() == code, error
    else:
        raise AssertionError(f"{action}: {code} was to be answered")


def until(what, right):
    """Asks until the answer is as it should be."""

    end = time.monotonic() + DEADLINE
    while not right(last := what()):
        assert time.monotonic() < end, last
    return last


def cli(server, wanted):
    """The steps as tccli does them."""

    s3, tccli = server.client(), Cli(server)
    make_bucket(s3, "photos")
    code = base64.b64encode(zipped({"index.py": HANDLER})).decode()
    made = {"FunctionName": "hello", "Runtime": "Python3.6", "Handler": "index.main_handler", "Timeout": 9}
    variables = {"Variables": [{"Key": "NAME", "Value": "hunter2"}]}
    tccli("CreateFunction", **made, Code={"ZipFile": code}, Environment=variables)
    tccli.refused("ResourceInUse.Function", "CreateFunction", **made, Code={"ZipFile": code})
    [listed] = tccli("ListFunctions")["Functions"]
    assert listed["FunctionName"] == "hello" and listed["Status"] == "Active", listed
    shown = tccli("GetFunction", FunctionName="hello")
    assert shown["Timeout"] == 9 and shown["AvailableStatus"] == "Available", shown
    assert "hunter2" not in json.dumps(shown), shown

    words = [world.BINARY, "event", "sample", "cos:ObjectCreated:Put", "--encoding", "cos"]
    sample = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
    tried = tccli("Invoke", FunctionName="hello", ClientContext=sample, LogType="Tail")["Result"]
    assert tried["InvokeResult"] == 0 and "cos:ObjectCreated:Put" in tried["Log"], tried
    assert json.loads(tried["RetMsg"]) == "hunter2 has seen 1", tried

    trigger = {"FunctionName": "hello", "Type": "cos", "TriggerName": host("photos"), "TriggerDesc": described("in/")}
    info = tccli("CreateTrigger", **trigger, Enable="OPEN")["TriggerInfo"]
    assert info["Enable"] == 1 and info["AvailableStatus"] == "Available", info
    overlap = {**trigger, "TriggerDesc": described("in/a")}
    tccli.refused("InvalidParameterValue.CosNotifyRuleConflict", "CreateTrigger", **overlap)
    [told] = tccli("ListTriggers", FunctionName="hello")["Triggers"]
    [ours] = server.tidings("trigger", "ls")["triggers"]
    assert told["ResourceId"] == ours["id"] == info["ResourceId"], (told, ours)

    def put(key):
        s3.put_object(Bucket="photos", Key=key, Body=b"x")
        wanted["photos", key] = [(PUT, 1)]

    put("in/cat.jpg")
    put("out/dog.jpg")
    logs = until(lambda: tccli("GetFunctionLogs", FunctionName="hello"), lambda logs: logs["TotalCount"] >= 2)
    run = logs["Data"][0]
    assert run["RetCode"] == 0 and "cos:ObjectCreated:Put in/cat.jpg" in run["Log"], logs
    of = tccli("GetRequestStatus", FunctionName="hello", FunctionRequestId=run["RequestId"])
    assert of["Data"][0]["RetCode"] == 0 and of["TotalCount"] == 1, of

    # Switched off it matches nothing; on again it does.
    tccli("UpdateTriggerStatus", **trigger, Enable="CLOSE")
    put("in/cow.jpg")
    tccli("UpdateTriggerStatus", **trigger, Enable="OPEN")
    put("in/hen.jpg")
    logs = until(lambda: tccli("GetFunctionLogs", FunctionName="hello"), lambda logs: logs["TotalCount"] >= 3)
    assert "in/hen.jpg" in logs["Data"][0]["Log"] and "in/cow.jpg" not in json.dumps(logs), logs

    tccli("UpdateFunctionConfiguration", FunctionName="hello", MemorySize="256", Environment={"Variables": []})
    other = base64.b64encode(zipped({"index.py": HANDLER.replace("seen", "met")})).decode()
    tccli("UpdateFunctionCode", FunctionName="hello", ZipFile=other)
    tried = tccli("InvokeFunction", FunctionName="hello", Event="{}")["Result"]
    assert json.loads(tried["RetMsg"]) == "None has met 0", tried
    tccli("DeleteTrigger", **trigger)
    assert tccli("ListTriggers", FunctionName="hello")["TotalCount"] == 0
    tccli("CreateTrigger", **trigger)
    tccli("DeleteFunction", FunctionName="hello")
    tccli.refused("ResourceNotFound.Function", "GetFunction", FunctionName="hello")
    assert server.tidings("trigger", "ls")["triggers"] == [], "its triggers went with it"


def ours(server, wanted):
    """The steps as our own commands do them."""

    s3 = server.client()
    make_bucket(s3, "own")
    server.tidings("function", "create", "own", "--text", HANDLER, "--runtime", "python3", "--env", "NAME=own")
    tried = server.tidings("function", "invoke", "own", "--template", "cos-put")
    assert tried["status"] == 200 and json.loads(tried["result"]) == "own has seen 1", tried
    server.tidings("trigger", "add", "own", "--bucket", "own", "--event", MADE, "--prefix", "in/")
    for key in ["in/cat.jpg", "out/dog.jpg"]:
        s3.put_object(Bucket="own", Key=key, Body=b"x")
        wanted["own", key] = [(PUT, 1)]
    # The first run is the one that was tried.
    logs = until(lambda: server.tidings("function", "logs", "own")["runs"], lambda runs: len(runs) >= 2)
    run = logs[-1]
    assert (run["object"], run["status"]) == ("own/in/cat.jpg", 200), logs
    assert "cos:ObjectCreated:Put in/cat.jpg" in run["log"] and len(logs) == 2, logs
    server.tidings("trigger", "rm", server.tidings("trigger", "ls")["triggers"][0]["id"])
    server.tidings("function", "rm", "own")


def python(server, wanted):
    """The same with the SDK, the code from an object, and the trigger put by the AWS CLI."""

    s3, client = server.client(), sdk(server)
    make_bucket(s3, "code-1250000000")
    code = zipped({"index.py": HANDLER})
    s3.put_object(Bucket="code-1250000000", Key="f.zip", Body=code)
    wanted["code-1250000000", "f.zip"] = [(PUT, len(code))]
    named = {"FunctionName": "resize"}
    place = {"CosBucketName": "code", "CosObjectName": "/f.zip", "CosBucketRegion": REGION}
    made = {**named, "Runtime": "Python3.6", "Handler": "index.main_handler"}
    sdk_refused("InvalidParameterValue", client, "CreateFunction", **made, Code={**place, "CosObjectName": "no.zip"})
    ask(client, "CreateFunction", **made, Code=place)
    tried = ask(client, "Invoke", **named, ClientContext="{}")["Result"]
    assert tried["InvokeResult"] == 0 and json.loads(tried["RetMsg"]) == "None has seen 0", tried
    arn = f"arn:aws:lambda:{REGION}:1250000000:function:resize"
    rules = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    (DIR / "rules.json").write_text(json.dumps(rules))
    make_bucket(s3, "pictures")
    words = ["put-bucket-notification-configuration", "--bucket", "pictures"]
    server.aws_api(*words, "--notification-configuration", f"file://{DIR}/rules.json")
    [trigger] = ask(client, "ListTriggers", **named)["Triggers"]
    assert trigger["TriggerName"] == host("pictures"), trigger
    for retries in [1, 0]:
        config = {"MsgTTL": 21600, "RetryConfig": [{"RetryNum": retries}]}
        ask(client, "UpdateFunctionEventInvokeConfig", **named, AsyncTriggerConfig=config)
    told = ask(client, "GetFunctionEventInvokeConfig", **named)["AsyncTriggerConfig"]
    assert told["MsgTTL"] == 21600 and told["RetryConfig"][0]["RetryNum"] == 0, told
    for key in ["cat.jpg", "dog.bad"]:
        s3.put_object(Bucket="pictures", Key=key, Body=b"x")
        wanted["pictures", key] = [(PUT, 1)]
    logs = until(lambda: ask(client, "GetFunctionLogs", **named), lambda logs: logs["TotalCount"] >= 3)
    failed = ask(client, "GetFunctionLogs", **named, Filter={"RetCode": "UserCodeException"})
    assert failed["TotalCount"] == 1 and "dog.bad" in failed["Data"][0]["Log"], (failed, logs)
    # No retry is left for it: it is a dead letter, and the function can go.
    until(lambda: server.tidings("target", "show", "function:resize"), lambda it: it["dead_letters"] == 1)
    s3.delete_object(Bucket="code-1250000000", Key="f.zip")
    wanted["code-1250000000", "f.zip"].append((GONE, 0))


def raw(server, action, body, age=0, signed="content-type;host", service="scf", sent=None, pair=None, **headers):
    """One request signed by hand; `sent` goes in place of the body that was signed."""

    access, secret = pair or server.pair
    now = int(time.time()) - age
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    said = {"content-type": "application/json", "host": server.admin, "x-tc-action": action, **headers}
    lines = "".join(f"{name}:{said[name].lower()}\n" for name in signed.split(";"))
    whole = f"POST\n/\n\n{lines}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{date}/{service}/tc3_request"
    text = f"TC3-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(whole.encode()).hexdigest()}"
    key = b"TC3" + secret.encode()
    for word in [*scope.split("/"), text]:
        key = hmac.new(key, word.encode(), "sha256").digest()
    proof = f"SignedHeaders={signed}, Signature={key.hex()}"
    said["authorization"] = f"TC3-HMAC-SHA256 Credential={access}/{scope}, {proof}"
    said |= {"x-tc-version": "2018-04-16", "x-tc-timestamp": str(now), "x-tc-region": REGION}
    connection = http.client.HTTPConnection(server.admin, timeout=DEADLINE)
    connection.request("POST", "/", body=body if sent is None else sent, headers=said)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer.status
    response = json.loads(answer.read())["Response"]
    assert response["RequestId"], response
    return response.get("Error", {}).get("Code")


def attacks(server):
    """What must not be taken."""

    named = json.dumps({"FunctionName": "resize"}).encode()
    assert raw(server, "GetFunction", named) is None
    assert raw(server, "GetFunction", named, signed="content-type;host;x-tc-action") is None
    assert raw(server, "GetFunction", named, age=290) is None
    assert raw(server, "GetFunction", named, age=310) == "AuthFailure.SignatureExpire"
    assert raw(server, "GetFunction", named, age=-310) == "AuthFailure.SignatureExpire"
    changed = json.dumps({"FunctionName": "sizere"}).encode()
    assert raw(server, "DeleteFunction", named, sent=changed) == "AuthFailure.SignatureFailure"
    invalid = "AuthFailure.InvalidAuthorization"
    assert raw(server, "DeleteFunction", named, signed="content-type") == invalid
    assert raw(server, "DeleteFunction", named, service="cvm") == invalid
    unsigned = {"x-tc-content-sha256": "UNSIGNED-PAYLOAD"}
    assert raw(server, "DeleteFunction", named, **unsigned) == invalid
    assert raw(server, "DeleteFunction", named, pair=("nobody", "x")) == "AuthFailure.SecretIdNotFound"
    wrong = (server.pair[0], server.pair[1] + "x")
    assert raw(server, "DeleteFunction", named, pair=wrong) == "AuthFailure.SignatureFailure"
    assert raw(server, "DestroyFunction", named) == "InvalidAction"
    large = json.dumps({"FunctionName": "resize", "Description": "x" * (1 << 20)}).encode()
    assert raw(server, "UpdateFunctionConfiguration", large) == "RequestSizeLimitExceeded"

    bomb = base64.b64encode(zipped({"index.py": HANDLER, "zeros": bytes(300 << 20)})).decode()
    sdk_refused("InvalidParameterValue", sdk(server), "UpdateFunctionCode", FunctionName="resize", ZipFile=bomb)
    outside = base64.b64encode(zipped({"index.py": HANDLER, "../outside": "x"})).decode()
    sdk_refused("InvalidParameterValue", sdk(server), "UpdateFunctionCode", FunctionName="resize", ZipFile=outside)

    # A key that may do everything in some buckets may nothing here: functions see events of all of them.
    for scope, bucket in [("admin", "pictures"), ("write", "*"), ("admin", "code-*")]:
        words = ["credential", "add", "--scope", scope, "--bucket", bucket, "--json"]
        one = json.loads(server.local(*words))
        server.tidings("reload")
        client = sdk(server, (one["access_key"], one["secret_key"]))
        place = {"CosBucketName": "code-1250000000", "CosObjectName": "f.zip"}
        denied = "AuthFailure.UnauthorizedOperation"
        sdk_refused(denied, client, "UpdateFunctionCode", FunctionName="resize", **place)
        sdk_refused(denied, client, "ListFunctions")
    [view] = server.tidings("function", "ls")["functions"]
    assert view["version"] == 1 and view["name"] == "resize", view
    log = (DIR / "data/audit.log").read_text()
    assert '"who":"' + server.pair[0] in log and "hunter2" not in log, "the audit log says who"


def work(server, wanted):
    ours(server, wanted)
    cli(server, wanted)
    python(server, wanted)
    attacks(server)


world.run(work)
