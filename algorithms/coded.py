"""The `rl.coded` part of a job file, and the pool of workers that it describes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from covey.algorithms.auto_codes import (
    codes_for_results,
    codes_for_sums,
    default_workers,
    enough_workers,
)
from covey.platform.coding.code import Code, CodeError
from covey.platform.coding.exact import check_exact
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.registry import CODES, SUM_CODES, least_workers, make_code
from covey.platform.coding.stragglers import Distribution, Injection
from covey.platform.coding.worker import Tasks
from covey.platform.errors import UserError
from covey.platform.jobfile.model import Count, Section
from covey.platform.runtime.crew import Crew

NotNegative = Annotated[int, Field(ge=0)]


class Inject(Section):
    """Stragglers on purpose, to see what they cost."""

    stragglers: NotNegative = Field(default=0, description="so many in each iteration, at random")
    workers: tuple[NotNegative, ...] = Field(default=(), description="or always these")
    delay_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="so long they sit on their result, on average"
    )
    distribution: Distribution = Field(default="constant", description="of the delay")
    crash_every: Count | None = Field(
        default=None, description="in every so many iterations one of them dies instead"
    )


class Coded(Section):
    """Updates are computed by a pool of workers, and a code makes up for those that are late."""

    code: Literal[
        "auto",
        "uncoded",
        "replication",
        "mds",
        "mds-dense",
        "vandermonde",
        "random-sparse",
        "ldpc",
        "fractional-repetition",
        "cyclic",
        "stochastic",
        "approximate",
    ] = "mds"
    workers: Count | None = Field(
        default=None, description="by default as many as the code needs for `tolerate`"
    )
    tolerate: NotNegative = Field(
        default=0, description="stragglers that are not waited for, whichever they are"
    )
    exact: bool = Field(
        default=False, description="code the results' bytes: bit for bit what was computed"
    )
    inject: Inject = Inject()

    def codes(self, tasks: int, sums: bool, seed: int) -> list[Code]:
        """The one to use, or those to choose among, with the first to begin with. UserError if
        there is none.
        """
        if self.code != "auto":
            return [self.make(tasks, seed)]
        sums = sums and not self.exact  # codes for sums have no exact form
        wanted = codes_for_sums if sums else codes_for_results
        most = self.workers or default_workers(tasks, sums, self.tolerate)
        found: dict[tuple[str, bytes], Code] = {}
        for name, workers, stragglers in wanted(tasks, most, self.tolerate):
            with suppress(CodeError):  # ldpc has few shapes, and not all have an exact form
                code = self._made(name, workers, tasks, seed, stragglers)
                if workers <= most and code.tolerates(self.tolerate):
                    found.setdefault((name, code.matrix.tobytes()), code)
        if not found:
            enough = enough_workers(tasks, sums, self.tolerate)
            raise UserError(
                f"rl.coded: auto finds no code for {tasks} tasks on up to {most} workers that"
                f" tolerates {self.tolerate} stragglers; workers: {enough} is enough"
            )
        return list(found.values())

    def make(self, tasks: int, seed: int) -> Code:
        """The code for so many tasks. UserError if there is none."""
        workers = self.workers or self._default_workers(tasks)
        if self.code == "cyclic" and workers != tasks:
            raise UserError(
                f"rl.coded.workers: cyclic has as many workers as parts, not {workers} for {tasks};"
                f" workers: {tasks} or rl.learners.count: {workers}"
            )
        try:
            return self._made(self.code, workers, tasks, seed, self.tolerate)
        except CodeError as error:
            raise UserError(f"rl.coded: {error}") from error

    def _made(self, name: str, workers: int, tasks: int, seed: int, stragglers: int) -> Code:
        """CodeError if there is none, or none that tolerates so many stragglers exactly."""
        asked = 0 if self.exact and name in CODES else stragglers
        code = make_code(name, workers=workers, tasks=tasks, seed=seed, stragglers=asked)
        if self.exact:
            check_exact(code, stragglers)
        return code

    def _default_workers(self, tasks: int) -> int:
        """As many as are needed."""
        if self.code == "uncoded" or self.code in SUM_CODES:
            return tasks
        if self.exact and self.code == "mds":
            return tasks + self.tolerate
        return least_workers(self.code, tasks, self.tolerate) or tasks + self.tolerate

    def check(self, tasks: int, sums: bool) -> None:
        """Raise UserError for what so many tasks cannot have, before anybody is started."""
        for code in self.codes(tasks, sums, 0):
            has = f"{code.name} has {code.workers} workers"
            if self.inject.stragglers > code.workers:
                raise UserError(
                    f"rl.coded.inject.stragglers: {has}, so no more can be late, and not"
                    f" {self.inject.stragglers}"
                )
            if max(self.inject.workers, default=0) >= code.workers:
                raise UserError(
                    f"rl.coded.inject.workers: {has}, 0 to {code.workers - 1}; there is no worker"
                    f" {max(self.inject.workers)}"
                )

    def injection(self, seed: int) -> Injection:
        """What the pool is told of stragglers."""
        told = self.inject
        return Injection(
            told.stragglers, told.delay_s, told.workers, told.distribution, told.crash_every, seed
        )


@dataclass(frozen=True)
class Work:
    """What a learner has others compute: `tasks` of them, each a function of a snapshot like
    `template`, with a result like `result`.
    """

    tasks: int
    make_tasks: Callable[[], Tasks]
    template: Mapping[str, NDArray[Any]]
    result: NDArray[Any]
    sums: bool = False
    """Whether the sum of all results is enough."""


def make_pool(
    coded: Coded, work: Work, seed: int, crew: Crew, note: Callable[[str, str], None]
) -> CodedPool:
    """The pool, its workers started. UserError for a code that cannot be made."""
    first, *others = coded.codes(work.tasks, work.sums, seed)
    return CodedPool(
        crew,
        first,
        work.make_tasks,
        work.template,
        work.result,
        note,
        exact=coded.exact,
        injection=coded.injection(seed),
        others=others,
    )
