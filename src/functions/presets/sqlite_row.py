# Writes a row for each change. A repeated event changes nothing: its request id is the row's key.
# DATABASE is a path that the instance can write; in the sandbox that is /tmp, which ends with the instance: for
# rows that are to last, replace sqlite3 by the client of your database.
import os
import sqlite3

database = sqlite3.connect(os.environ.get("DATABASE", "/tmp/changes.db"))
database.execute(
    "CREATE TABLE IF NOT EXISTS changes (id TEXT PRIMARY KEY, event TEXT, key TEXT, size INTEGER, time INTEGER)"
)


def main_handler(event, context):
    for number, record in enumerate(event["Records"]):
        about = record["cos"]["cosObject"]
        row = ("%s-%d" % (context["request_id"], number), record["event"]["eventName"])
        row += (about["key"].split("/", 3)[-1], about["size"], record["event"]["eventTime"])
        with database:
            database.execute("INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?)", row)
    return {"rows": database.execute("SELECT count(*) FROM changes").fetchone()[0]}
