"""Many clients' local training at once.

What `local_client.train_alone` does for one of them. A step is one call of the app's own under
`torch.func.vmap` for all clients at work whose next minibatches have the same shapes; those with
another one, as the last of a pass, take theirs apart and are with the others again for the next.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import vmap

from covey.federation.local_client import Trained, Work, WrongTraining, beginning, stepped
from covey.federation.local_training import Client, LocalTraining, Parameters, Round

Value = TypeVar("Value")


class StepFailed(Exception):
    """A step has raised something, in one line; `__cause__` is what."""


class Trainee(NamedTuple):
    """A client, and the generator that its minibatches are drawn from."""

    client: Client
    generator: torch.Generator


def train_together(
    local: LocalTraining, trainees: Sequence[Trainee], told: Round
) -> list[Trained | Exception]:
    """Of each trainee what `train_alone` would return, or what its minibatches have raised.

    WrongTraining when `local` does not do what it must, StepFailed when its step raises.
    """
    members = [_Member(local, trainee, told) for trainee in trainees]
    with torch.no_grad():
        start = beginning(local, told)
        block = {name: torch.stack([one] * len(members)) for name, one in start.items()}
        for row, member in enumerate(members):
            member.block, member.row = block, row
        while ready := [member for member in members if member.advance()]:
            groups: dict[tuple[object, ...], list[_Member]] = {}
            for member in ready:
                look = tuple((part.shape, part.dtype) for part in member.minibatch)
                groups.setdefault(look, []).append(member)
            for group in groups.values():
                _step(local, group, told)
    return [member.result(told) for member in members]


class _Member:
    """One client at work. It stands in row `row` of the arrays of `block`, each [clients, ...]."""

    block: Parameters
    row: int

    def __init__(self, local: LocalTraining, trainee: Trainee, told: Round) -> None:
        self.minibatch: tuple[Tensor, ...] = ()
        self._raised: Exception | None = None
        self._work = self._tried(lambda: Work(local, trainee.client, told, trainee.generator))

    def advance(self) -> bool:
        """Go on to the next minibatch; False if there is none."""
        work = self._work
        minibatch = self._tried(work.next_minibatch) if work is not None else None
        self.minibatch = minibatch or ()
        return minibatch is not None

    def stand(self, block: Parameters, row: int, metrics: dict[str, float]) -> None:
        """Where a step has led."""
        assert self._work is not None
        self.block, self.row = block, row
        self._work.add(metrics)

    def result(self, told: Round) -> Trained | Exception:
        """What `train_alone` would return or raise."""
        work, mine = self._work, {name: array[self.row] for name, array in self.block.items()}
        trained = self._tried(lambda: work.trained(mine, told)) if work is not None else None
        result = self._raised or trained
        assert result is not None
        return result

    def _tried(self, call: Callable[[], Value]) -> Value | None:
        """One client's failure is its own; a training that is wrong is everybody's."""
        if self._raised is not None:
            return None
        try:
            return call()
        except WrongTraining:
            raise
        except Exception as error:
            self._raised = error
            return None


def _step(local: LocalTraining, group: Sequence[_Member], told: Round) -> None:
    def step(
        parameters: Parameters, minibatch: tuple[Tensor, ...]
    ) -> tuple[Parameters, dict[str, Tensor]]:
        return stepped(local, parameters, minibatch, told)

    minibatches = tuple(map(torch.stack, zip(*(m.minibatch for m in group), strict=True)))
    try:
        block, metrics = vmap(step)(_gathered(group), minibatches)
    except WrongTraining:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise StepFailed(
            f"step failed under torch.func.vmap, which engine cohort needs: "
            f"{type(error).__name__}: {reason}"
        ) from error
    told_of_each = {name: values.tolist() for name, values in metrics.items()}
    for row, member in enumerate(group):
        member.stand(block, row, {name: values[row] for name, values in told_of_each.items()})


def _gathered(group: Sequence[_Member]) -> Parameters:
    """Where the members stand, [members, ...] each: as it is, if they went together before."""
    block = group[0].block
    rows = [member.row for member in group if member.block is block]
    size = len(next(iter(block.values())))
    if rows == list(range(size)) and len(rows) == len(group):
        return block
    return {name: torch.stack([m.block[name][m.row] for m in group]) for name in block}
