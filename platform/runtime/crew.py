"""The workers of a job behind one call interface, whether they run inline or as Ray actors."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Pending(Protocol):
    """A result that may not be there yet. As an argument of `submit` it stands for its value."""


class Worker(Protocol):
    """Somebody who answers calls, one at a time and in the order in which they were submitted."""

    def submit(self, method: str, *arguments: Any) -> Pending:
        """Call a method of the worker's object; an argument that is a Pending travels worker to
        worker.
        """


class Crew(Protocol):
    """Starts workers, collects their results, ends them."""

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        """Start a worker around `factory(*arguments)`; both must be picklable."""

    def share(self, value: Any) -> Pending:
        """A value that many calls get as an argument: it is laid down once, and large arrays in it
        are read where they lie.
        """

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        """The values, in order. A worker's UserError is raised as it is; a lost worker as
        WorkerLost.
        """

    def is_ready(self, pending: Pending) -> bool:
        """Whether `fetch` would return without waiting."""

    def pids(self) -> dict[str, int]:
        """Processes of workers that have one of their own, by name, as far as they have started."""

    def wait(self, pending: Sequence[Pending], timeout_s: float) -> None:
        """Return when one of them is ready, or when the time is over."""

    def end(self, worker: Worker) -> None:
        """End one worker at once, whatever it is doing."""

    def free_cpus(self) -> float:
        """Of the whole cluster, that nobody uses; negative while somebody waits for room."""

    def spans_nodes(self) -> bool:
        """Whether a worker may be, or come, on another node than this process."""

    def helpers(self) -> Callable[[], "Crew"]:
        """For a worker, which calls it in its own process to start workers of its own."""

    def close(self) -> None:
        """End all workers."""


class WorkerLost(RuntimeError):
    """A worker's process died. The attempt fails; the next one goes on from the last checkpoint.

    `begun`: whether it may have been at work on the call; else it was not even there yet.
    """

    def __init__(self, why: str, begun: bool = True) -> None:
        super().__init__(why)
        self.begun = begun


class InlineCrew:
    """Everything in the caller's process, each call done when it is submitted."""

    def __init__(self) -> None:
        self._workers: list[InlineWorker] = []

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        worker = InlineWorker(factory(*arguments))
        self._workers.append(worker)
        return worker

    def share(self, value: Any) -> Pending:
        return Done(value)

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        return [resolve(one) for one in pending]

    def is_ready(self, pending: Pending) -> bool:
        return True

    def pids(self) -> dict[str, int]:
        return {}

    def wait(self, pending: Sequence[Pending], timeout_s: float) -> None:
        return None

    def end(self, worker: Worker) -> None:
        assert isinstance(worker, InlineWorker)
        self._workers.remove(worker)
        worker.close()

    def free_cpus(self) -> float:
        return 0.0

    def spans_nodes(self) -> bool:
        return False

    def helpers(self) -> Callable[[], Crew]:
        return InlineCrew

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class Done:
    """A value that is there."""

    def __init__(self, value: Any) -> None:
        self.value = value


class InlineWorker:
    """A plain object behind the interface of a worker."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def submit(self, method: str, *arguments: Any) -> Pending:
        return Done(getattr(self.target, method)(*map(resolve, arguments)))

    def close(self) -> None:
        close = getattr(self.target, "close", None)
        if close is not None:
            close()


def resolve(argument: Any) -> Any:
    """The value of an inline result; anything else as it is."""
    return argument.value if isinstance(argument, Done) else argument
