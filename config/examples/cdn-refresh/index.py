# Asks a CDN to forget what changed: POSTs {"urls": [...]} to REFRESH_URL.
# CDN_DOMAIN replaces the host in the object's URL; CDN_TOKEN, if there is one, is sent as a bearer token.
import json
import os
import urllib.parse
import urllib.request


def main_handler(event, context):
    urls = []
    for record in event["Records"]:
        url = urllib.parse.urlsplit(record["cos"]["cosObject"]["url"])
        urls.append(urllib.parse.urlunsplit(url._replace(netloc=os.environ.get("CDN_DOMAIN") or url.netloc)))
    request = urllib.request.Request(os.environ["REFRESH_URL"], json.dumps({"urls": urls}).encode())
    request.add_header("content-type", "application/json")
    if os.environ.get("CDN_TOKEN"):
        request.add_header("authorization", "Bearer " + os.environ["CDN_TOKEN"])
    # An error is raised as an exception: the event is tried again.
    with urllib.request.urlopen(request, timeout=8) as answer:
        print("refreshed", urls, answer.status)
    return {"urls": urls}
