"""The `rl.coded` part of a job file, and the pool of workers that it describes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from covey.platform.coding.code import Code, CodeError
from covey.platform.coding.exact import byte_code
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.registry import SUM_CODES, make_code
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
        wanted = codes_for_sums if sums else codes_for_results
        most = self.workers or (tasks if sums else 2 * tasks)
        found: dict[tuple[str, bytes], Code] = {}
        for name, workers, stragglers in wanted(tasks, most):
            with suppress(CodeError):  # ldpc has few shapes, fractional-repetition needs a divisor
                code = make_code(
                    name, workers=workers, tasks=tasks, seed=seed, stragglers=stragglers
                )
                if workers <= most and code.tolerance >= self.tolerate:
                    found.setdefault((name, code.matrix.tobytes()), code)
        if not found:
            raise UserError(
                f"rl.coded: auto finds no code for {tasks} tasks on up to {most} workers that"
                f" tolerates {self.tolerate} stragglers; with more workers there is one"
            )
        return list(found.values())

    def make(self, tasks: int, seed: int) -> Code:
        """The code for so many tasks. UserError if there is none."""
        workers = tasks + self.tolerate if self.workers is None else self.workers
        if self.workers is None and self.code in ("uncoded", "replication"):
            workers = tasks * (self.tolerate + 1)
        if self.workers is None and self.code in SUM_CODES:
            workers = tasks
        try:
            return make_code(
                self.code, workers=workers, tasks=tasks, seed=seed, stragglers=self.tolerate
            )
        except CodeError as error:
            raise UserError(f"rl.coded: {error}") from error

    def check(self, tasks: int, sums: bool) -> None:
        """Raise UserError for what so many tasks cannot have, before anybody is started."""
        for code in self.codes(tasks, sums, 0):
            late = max(self.inject.stragglers, *(number + 1 for number in self.inject.workers), 0)
            if late > code.workers:
                raise UserError(
                    f"rl.coded.inject: {code.name} has {code.workers} workers, numbered from 0:"
                    f" no worker {late - 1} can be late"
                )
            if self.exact:
                try:
                    byte_code(code, 1)
                except CodeError as error:
                    raise UserError(f"rl.coded.exact: {error}") from error

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


Wanted = list[tuple[str, int, int]]
"""Names, workers and stragglers of codes to choose among, the most redundant one first."""


def codes_for_results(tasks: int, most: int) -> Wanted:
    """`auto` where every result is needed, on up to `most` workers."""
    less = sorted({(tasks + most) // 2, tasks + 1}, reverse=True)
    found = [("mds", most, 0)]
    found += [("mds", count, 0) for count in less if tasks < count < most]
    copies = most // tasks
    if copies > 1:
        found.append(("replication", copies * tasks, 0))
    return [*found, ("ldpc", most, 0), ("uncoded", tasks, 0)]


def codes_for_sums(tasks: int, most: int) -> Wanted:
    """`auto` where a sum is needed: each part computed three, two times, or once."""
    found = [
        (name, most, stragglers)
        for stragglers in (2, 1)
        for name in ("fractional-repetition", "cyclic")
        if stragglers < most
    ]
    return [*found, ("uncoded", tasks, 0)]


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
