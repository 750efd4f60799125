"""s3s-e2e, the suite that the S3 library's authors test servers with, built on the AWS SDK for Rust.

Arguments: the server's binary, an empty directory, the suite's binary. Fails if a case fails that is not listed
here, if a listed one passes, or if the target is not told of everything that the suite did.
"""

import json
import os
import subprocess
import sys

import world
from world import DEADLINE, DIR, GONE, REGION

# What the suite asks for and does not get, and why.
REFUSED = {
    "Advanced/STS/test_assume_role": "there is no token service: pairs with scopes and patterns of buckets are made "
    "by `tidings credential add`",
}


def cases(report):
    """Each case by its whole name, and whether it passed. What could not even be set up has no cases."""

    for suite in report["suites"]:
        for fixture in suite["fixtures"]:
            for part in ["setup", "teardown"]:
                assert fixture[part] and fixture[part]["result"] == "Ok", f"{part} of {fixture['name']}: {fixture}"
            for case in fixture["cases"]:
                yield f"{suite['name']}/{fixture['name']}/{case['name']}", case


def work(server, wanted):
    report = DIR / "report.json"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(DIR),
        "AWS_ACCESS_KEY_ID": server.pair[0],
        "AWS_SECRET_ACCESS_KEY": server.pair[1],
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_CONFIG_FILE": str(DIR / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(DIR / "none"),
        "RUST_LOG": "error",
    }
    ended = subprocess.run([sys.argv[3], "--json", str(report)], env=variables, timeout=DEADLINE)
    found = dict(cases(json.loads(report.read_text())))
    failed = {name: case["run"] for name, case in found.items() if not case["passed"]}
    assert failed.keys() == REFUSED.keys(), f"{ended.returncode}: {failed}"
    assert len(found) == 18, f"the suite has {len(found)} cases: is it another version?"
    # It removes whatever it makes.
    assert server.client().list_buckets()["Buckets"] == [], "buckets are left"
    server.settle()
    for at, told in server.target.events.items():
        assert len(told) >= 2 and told[-1][0] == GONE and told[0][0] != GONE, f"{at}: {told}"
        wanted[at] = told


world.run(work)
