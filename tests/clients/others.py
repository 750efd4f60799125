"""The clients of COS, s3cmd and rclone against a tidings server with an HTTP target: one matrix for all.

Arguments: the server's binary, an empty directory. Each works in a bucket of its own; the target must get exactly
the events of what was done.
"""

import matrix
import of_cos
import of_s3
import world


def work(server, wanted):
    told = {}
    for kind in [of_cos.PythonSdk, of_cos.NodeSdk, of_cos.Coscmd, of_s3.S3cmd, of_s3.Rclone]:
        client = kind(server, world.DIR)
        told[kind.__name__] = matrix.Work(client, server, world.DIR, wanted).run()
    matrix.show(told)


world.run(work)
