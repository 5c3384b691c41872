"""`ray start` for a head of ours: `python -m covey.platform.jobs.head_process start --head …`.

It leaves out what nobody here uses, and what Ray's command has no option for:

- the client server. It listens on every interface, and when it is slow to start on a busy machine
  the whole head ends with it. Ray leaves it out where grpc is missing, so that is what it is told.
- six of the dashboard's nine processes: a third of the head's memory and of its start.
"""

from typing import Any

from ray._private import services
from ray.scripts import scripts

from covey.platform.ray_start import agents_given_ports

DASHBOARD_MODULES = ("JobHead", "NodeHead", "StateHead")
"""The first answers for jobs, and learns of the second where to start them; the third answers for
nodes and actors (`ray list`).
"""


def main() -> None:
    """What `ray` does, without these."""
    command: Any = scripts
    missing = ImportError("not wanted")
    command.get_ray_client_dependency_error = lambda: missing
    processes: Any = services
    start = processes.start_ray_process

    def start_ray_process(arguments: list[str], process_type: str, *rest: Any, **more: Any) -> Any:
        if process_type == "dashboard":
            arguments = [*arguments, "--modules-to-load=" + ",".join(DASHBOARD_MODULES)]
        return start(arguments, process_type, *rest, **more)

    processes.start_ray_process = start_ray_process
    with agents_given_ports():
        command.main()


if __name__ == "__main__":
    main()
