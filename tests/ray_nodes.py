"""A Ray cluster of several raylets on this machine, told by lines on standard input.

Prints its address; `kill` kills a node that is not the head, `add` adds one.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    size = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(
        initialize_head=True,
        head_node_args=size | {"num_cpus": 0, "include_dashboard": False},
    )
    nodes = [cluster.add_node(**size) for _ in range(2)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        else:
            nodes.append(cluster.add_node(**size))
        sys.stdout.write(line)
        sys.stdout.flush()
    cluster.shutdown()
