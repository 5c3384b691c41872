"""What stragglers cost MADDPG under each code (Wang et al. 2021, section V), as real iterations of
real workers and by the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from covey.algorithms.coded import Coded
from covey.algorithms.study.measure import (
    CORES,
    Setting,
    Taken,
    as_modelled,
    costs_of,
    measured,
    modelled,
    work_of,
)
from covey.platform.errors import UserError
from covey.platform.runtime.crew import Crew

CODES = ("uncoded", "replication", "ldpc", "random-sparse", "mds", "mds-dense")
WORKERS, AGENTS = 15, 10
"""The paper's learners, and for how many agents at most they are."""


@dataclass(frozen=True)
class Cell:
    """A code with `stragglers` in every iteration. Mean seconds: measured with the quartiles
    (None: not run), modelled with this machine's cores, and with a core for each worker.
    """

    env: str
    agents: int
    delay_s: float
    code: str
    stragglers: int
    real_s: float | None
    quartiles_s: tuple[float, float] | None
    here_s: float
    wide_s: float

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def workers_of(code: str, agents: int) -> int:
    """The paper's 15 learners, of which uncoded uses one an agent; for more agents than there are
    half as many again, rounded up.
    """
    if code == "uncoded":
        return agents
    return WORKERS if agents <= AGENTS else -(-3 * agents // 2)


def check(agents: Sequence[int], stragglers: Sequence[int]) -> None:
    """Raise UserError for more stragglers than there are workers."""
    workers = workers_of("mds", min(agents))
    if max(stragglers) > workers:
        raise UserError(
            f"--stragglers {max(stragglers)}: for {min(agents)} agents there are {workers} workers;"
            f" up to {workers} can be late"
        )


def compare(
    setting: Setting,
    codes: Sequence[str],
    rounds: int,
    make_crew: Callable[[], Crew] | None,
    batch_size: int = 1024,
    note: Callable[[str], None] = lambda text: None,
) -> list[Cell]:
    """All codes in one setting; without a crew by the model alone. `note` hears of codes that there
    are none of.
    """
    work, snapshot = work_of(setting, batch_size)
    wide = costs_of(work, snapshot, make_crew)
    here = replace(wide, cores=CORES)
    cells: list[Cell] = []
    for name in codes:
        coded = Coded(code=name, workers=workers_of(name, setting.agents))  # type: ignore[arg-type]
        try:
            code = coded.make(setting.agents, 0)
        except UserError as error:  # ldpc has few shapes
            note(f"without {name}: {error}")
            continue
        real: dict[int, Taken] = {}
        if make_crew is not None:
            real = measured(coded, work, snapshot, setting, rounds, make_crew)
        for stragglers in setting.stragglers:
            if stragglers > code.workers:
                continue
            own, alike = real.get(stragglers), modelled(code, here, setting, stragglers)
            quartiles = None
            if own is not None:
                alike = as_modelled(code, own)
                low, high = np.quantile(own.seconds, [0.25, 0.75])
                quartiles = float(low), float(high)
            cells.append(
                Cell(
                    setting.env,
                    setting.agents,
                    setting.delay_s,
                    name,
                    stragglers,
                    None if own is None else own.mean_s,
                    quartiles,
                    alike.mean_s,
                    modelled(code, wide, setting, stragglers).mean_s,
                )
            )
    return cells


def verdict(cells: Sequence[Cell]) -> list[str]:
    """Which code is fastest with how many stragglers, by the model with a core for each worker."""
    lines = []
    settings = {(cell.env, cell.agents, cell.delay_s) for cell in cells}
    for env, agents, delay_s in sorted(settings):
        own = [c for c in cells if (c.env, c.agents, c.delay_s) == (env, agents, delay_s)]
        parts = []
        for stragglers in sorted({cell.stragglers for cell in own}):
            rivals = [cell for cell in own if cell.stragglers == stragglers]
            best = min(rivals, key=lambda cell: cell.wide_s)
            parts.append(f"{stragglers}: {best.code}")
        lines.append(
            f"{env}, {agents} agents, {delay_s:g} s late: fastest with so many stragglers is "
            + ", ".join(parts)
        )
    return lines
