"""The `rl.devices` part of a job file: the actor's updates in one process, the critics' in another
(Spreeze, arXiv 2312.06126).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile, Section

if TYPE_CHECKING:  # that one has this one in it
    from covey.algorithms.section import RLSection, Sampling

Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]


class Devices(Section):
    """Actor and critics each in a process of its own."""

    actor: Device = "cpu"
    critic: Device = "cpu"
    delay: Literal[0, 1] = Field(
        default=0,
        description="0: they wait for each other, the numbers are those of one process; 1: they "
        "work at the same time, and the actor follows the critics of the step before",
    )


def check_devices(job: JobFile, sampling: Sampling, devices: Devices) -> None:
    """Raise KeyProblem where actor and critics cannot be parted."""
    section: RLSection = job.section
    name = section.algorithm.name
    if name != "sac":
        raise KeyProblem(
            ("rl", "devices"),
            f"{name} is updated as a whole; leave this out, or use algorithm: {{name: sac}}",
        )
    if section.coded is not None or (section.learners and section.learners.count > 1):
        other = "learners" if section.coded is None else "coded"
        raise KeyProblem(
            ("rl", "devices"), f"parts an update in another way than rl.{other}: give one of them"
        )
    for role in ("actor", "critic"):
        if getattr(devices, role) != "cpu":
            raise KeyProblem(
                ("rl", "devices", role),
                "sac's updates are written for CPUs: today it is cpu for both, each in a process"
                " of its own",
            )
    if not sampling.samplers:
        raise KeyProblem(
            ("rl", "devices"),
            "the critics' process is a Ray actor, but this job is all in one process; give"
            " rl.sampling.samplers: 1, or leave this out",
        )
