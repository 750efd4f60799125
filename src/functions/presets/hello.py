# Says which object changed, and how. What is printed stands in the run log: `tidings function logs NAME`.
def main_handler(event, context):
    for record in event["Records"]:
        bucket = record["cos"]["cosBucket"]
        # The key begins with /APPID/BUCKET/, as COS writes it.
        key = record["cos"]["cosObject"]["key"].replace("/%s/%s/" % (bucket["appid"], bucket["name"]), "", 1)
        print(record["event"]["eventName"], bucket["name"], key)
    # Whatever is returned is the result; an exception fails the event, which is then tried again.
    return {"request_id": context["request_id"], "records": len(event["Records"])}
