# Tells a service what was created, overwritten or deleted: POSTs one small JSON object to SERVICE_URL.
# The header idempotency-key is the same at every attempt of one event, so that the service can recognise repeats.
import json
import os
import urllib.request


def main_handler(event, context):
    for record in event["Records"]:
        name = record["event"]["eventName"]
        bucket = record["cos"]["cosBucket"]
        told = {
            "action": "deleted" if name.startswith("cos:ObjectRemove:") else "written",
            "event": name,
            "bucket": bucket["name"],
            "key": record["cos"]["cosObject"]["key"].split("/", 3)[-1],
            "size": record["cos"]["cosObject"]["size"],
            "time": record["event"]["eventTime"],
        }
        request = urllib.request.Request(os.environ["SERVICE_URL"], json.dumps(told).encode())
        request.add_header("content-type", "application/json")
        request.add_header("idempotency-key", context["request_id"])
        with urllib.request.urlopen(request, timeout=8) as answer:
            print(told["action"], told["key"], answer.status)
