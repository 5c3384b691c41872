"""Runs everybody in turn, so that a machine that gets slower gets slower for all of them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from covey.algorithms.bench.machine import machine
from covey.algorithms.bench.rounds import spread
from covey.federation.bench.contenders import OURS, Contender, Setting, contenders_of
from covey.federation.bench.messages import measure_messages
from covey.federation.bench.opening import write_opening
from covey.federation.bench.reading import Reading, reading
from covey.federation.bench.report import Report, WorkFound, lines_of
from covey.federation.bench.works import DATA, MESSAGES, WORKS
from covey.federation.data import missing_data
from covey.platform.cli.output import figure, note
from covey.platform.errors import UserError

REFERENCE = "plain"
NOTE = (
    "rounds/s from the first round's start to the last one's end, without the test at the end; "
    "warm: without the first round; process: the whole process, start and end included; peak: "
    "memory of all its processes, shared pages once; the last columns are the warm rounds/s of "
    "Covey's engines over that one's"
)


def compare(
    works: Sequence[str], peers: Sequence[str], rounds: int | None, times: int, cpus: int
) -> Report:
    """Measure each work's contenders `times` times; `rounds` None: as many as the work has.

    UserError if the data is missing, or if a contender fails.
    """
    if works != (MESSAGES,) and (reason := missing_data(DATA)):
        raise UserError(reason)
    settings = {"rounds": rounds, "times": times, "cpus": cpus}
    message_ms = spread(measure_messages(times)) if MESSAGES in works else None
    found = [
        compare_work(work, peers, rounds or WORKS[work].rounds, times, cpus)
        for work in works
        if work != MESSAGES
    ]
    return Report(NOTE, machine(), settings, found, message_ms)


def compare_work(name: str, peers: Sequence[str], rounds: int, times: int, cpus: int) -> WorkFound:
    """One work."""
    work = WORKS[name]
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
        setting = Setting(work, rounds, cpus, Path(folder, "opening.npz"), Path(folder))
        write_opening(setting.job("inline"), setting.opening)
        contenders = contenders_of(setting, peers)
        readings = in_turn(name, contenders, times)
    names = {contender.key: contender.name for contender in contenders}
    lines = lines_of(names, readings, tuple(OURS), REFERENCE)
    return WorkFound(name, work.title, rounds, REFERENCE, lines)


def in_turn(work: str, contenders: Sequence[Contender], times: int) -> dict[str, list[Reading]]:
    """Readings by contender, A B A B ..."""
    readings: dict[str, list[Reading]] = {contender.key: [] for contender in contenders}
    for number in range(1, times + 1):
        for contender in contenders:
            one = reading(contender.run())
            readings[contender.key].append(one)
            note(
                f"{work}, {number} of {times}: {contender.name} {figure(one.rounds_per_s)} "
                f"rounds/s, whole process {figure(one.process_s)} s"
            )
    return readings
