"""`ray start` for a head of ours: `python -m covey.platform.jobs.head_process start --head …`.

Ray's command always starts its client server too. Nobody here uses that, it listens on every
interface, and when it is slow to start on a busy machine the whole head ends with it. Ray leaves it
out where grpc is missing, so that is what it is told.
"""

from typing import Any

from ray.scripts import scripts


def main() -> None:
    """What `ray` does, without the client server."""
    command: Any = scripts
    missing = ImportError("not wanted")
    command.get_ray_client_dependency_error = lambda: missing
    command.main()


if __name__ == "__main__":
    main()
