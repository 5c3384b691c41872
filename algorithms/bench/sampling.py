"""Compares how fast environments are sampled with the policy in the loop."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from covey.algorithms.bench.machine import machine
from covey.algorithms.bench.peer import PEERS, python_of, script
from covey.algorithms.bench.report import OURS, Report
from covey.algorithms.bench.rounds import Contender, in_turn
from covey.algorithms.bench.served import Served
from covey.platform.cli.output import figure, note
from covey.platform.errors import UserError

PROCESSES = 2
STEPS = 128
"""Of each environment, between two looks at the clock."""
CNN = {"convolutions": [[16, 8, 4], [32, 4, 2]], "width": 256}
NOTE = (
    "environment steps/s, automatic resets not counted: median, lowest and highest; "
    "the last column is Covey's rate over that one's; SB3's rate has its values and GAE in it, "
    "which Covey's learner reckons later"
)


@dataclass(frozen=True)
class Subject:
    """How an environment is sampled.

    `batched` is how many a process steps in the environment's own batched form (0: it has none),
    `ours` each sampler of Covey; a peer is measured with as many, and with `envs`.
    """

    env: str
    batched: int
    envs: int
    ours: int
    images: bool = False


ENVIRONMENTS = {
    subject.env: subject
    for subject in (
        Subject("CartPole-v1", batched=1024, envs=16, ours=1024),
        Subject("Pendulum-v1", batched=0, envs=16, ours=128),
        Subject("HalfCheetah-v5", batched=0, envs=16, ours=128),
        Subject("ALE/Pong-v5", batched=8, envs=8, ours=8, images=True),
    )
}


def chosen_environments(named: Sequence[str] | None, known: Mapping[str, object]) -> list[str]:
    """Those named, or all; raises UserError for one that is not compared here."""
    for name in named or ():
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UserError(
                f"{name!r} is not compared here; there are {', '.join(known)}; nearest: {nearest}"
            )
    return list(named or known)


def compare(
    environments: Sequence[str], peers: Sequence[str], rounds: int, seconds: float
) -> Report:
    """Measure each environment's contenders in turn."""
    report = Report("sampling", NOTE, machine(), {"rounds": rounds, "seconds": seconds})
    for env in environments:
        subject = ENVIRONMENTS[env]
        with ExitStack() as running:
            contenders = contenders_of(subject, peers, running)
            readings = in_turn(
                contenders,
                rounds,
                seconds,
                lambda name, number, rate: note(
                    f"{env}, round {number}: {name} {figure(rate)} steps/s"  # noqa: B023
                ),
            )
        report.add(env, "env steps/s", readings)
    return report


def contenders_of(subject: Subject, peers: Sequence[str], running: ExitStack) -> list[Contender]:
    """Ours, the environment alone and the peers, started and ready."""

    def start(name: str, command: Sequence[str], **settings: Any) -> Served:
        note(f"{subject.env}: starting {name}")
        process = Served(name, command, {"env": subject.env, **settings})
        running.callback(process.close)
        process.wait_ready()
        return process

    samplers = [
        start(
            OURS,
            [sys.executable, "-m", "covey.algorithms.bench.ours_sampling"],
            envs=subject.ours,
            first=number * subject.ours,
            steps=STEPS,
            hidden=[CNN["width"]] if subject.images else [64, 64],
        )
        for number in range(PROCESSES)
    ]
    contenders = [Contender(OURS, samplers, "steps")]
    for form, batched in (("", 0), (", batched form", subject.batched)):
        if form and not batched:
            continue
        name = f"environment alone{form}"
        alone = [
            start(name, [sys.executable, script("environment_alone")], batched=batched)
            for _ in range(PROCESSES)
        ]
        contenders.append(Contender(f"{name}, 1 process", alone[:1], "steps"))
        contenders.append(Contender(f"{name}, {PROCESSES} processes", alone, "steps"))
    for peer in peers:
        for envs in sorted({subject.envs, subject.ours}):
            name = f"{PEERS[peer]}, {envs} environments"
            process = start(
                name,
                [str(python_of(peer)), script(f"{peer}_sampling")],
                envs=envs,
                steps=max(8, STEPS * subject.envs // envs),
                threads=PROCESSES if subject.images else 1,
                **({"cnn": CNN} if subject.images else {}),
            )
            contenders.append(Contender(name, [process], "steps"))
    return contenders
