"""A trained policy in any script: `load_policy("runs/cartpole").act(observations)`."""

from pathlib import Path

from covey.platform.jobfile.load import load_job_file
from covey.platform.workload import Policy, find_workload


def load_policy(run_dir: str | Path) -> Policy:
    """The policy in the newest whole checkpoint of a run folder.

    Raises UserError when the folder is no run folder or holds no whole checkpoint.
    """
    folder = Path(run_dir)
    return find_workload(load_job_file(folder / "job.yaml").workload).load_policy(folder)
