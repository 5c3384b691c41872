"""Results of Ray actors for any process of the cluster, which has no crew of its own."""

from collections.abc import Sequence
from typing import Any

from covey.platform.errors import UserError
from covey.platform.runtime.actors import Remote
from covey.platform.runtime.crew import Pending, WorkerLost


class RayResults:
    """`results.Results` over Ray's object store. Ray must be running in the process."""

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            values: list[Any] = ray.get([_reference(one) for one in pending])
        except RayActorError as error:
            raise WorkerLost(f"a worker died: {error}") from error
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise error.cause from error  # the worker's own story stays in the traceback
        return values

    def is_ready(self, pending: Pending) -> bool:
        import ray

        ready, _ = ray.wait([_reference(pending)], timeout=0)
        return bool(ready)


def _reference(pending: Pending) -> Any:
    assert isinstance(pending, Remote)
    return pending.reference
