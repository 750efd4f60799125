"""All clients of S3 and of COS: one matrix.

Arguments: the server's binary, an empty directory. Each works in a bucket of its own; the target must get exactly
the events of what was done.
"""

import matrix
import of_aws
import of_cos
import of_s3
import world
from pages import Pages

CLIENTS = [
    of_aws.Boto3,
    of_aws.AwsCli,
    of_s3.S3cmd,
    of_s3.Rclone,
    of_cos.PythonSdk,
    of_cos.NodeSdk,
    of_cos.Coscmd,
]


def work(server, wanted):
    told, pages = {}, Pages.serve()
    for kind in CLIENTS:
        client = kind(server, world.DIR)
        told[kind.__name__] = matrix.Work(client, server, world.DIR, wanted).run(pages.server_port)
    matrix.show(told)


world.run(work, matrix.CONFIGURATION)
