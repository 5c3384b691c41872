"""How many clients a strategy asks for.

Checked before it could wait for ever, and set where a job says so.
"""

from collections.abc import Callable, Iterator

from flwr.serverapp.strategy import Strategy

from covey.platform.errors import UserError


def refuse_endless_wait(strategy: Strategy, clients: int) -> None:
    """Flower's strategies wait for enough clients; ours never become more: UserError."""
    for inner in wrapped(strategy):
        for name in ("min_available_nodes", "min_train_nodes", "min_evaluate_nodes"):
            wanted = getattr(inner, name, 0)
            if isinstance(wanted, int) and wanted > clients:
                raise UserError(
                    f"{type(inner).__name__} waits for {wanted} clients ({name}), but "
                    f"its grid has {clients}: raise federated.clients to {wanted} or lower {name} "
                    "in the app"
                )
        for name in ("fraction_train", "fraction_evaluate"):
            fraction = getattr(inner, name, 0)
            wanted = int(clients * fraction) if isinstance(fraction, int | float) else 0
            if wanted > clients:
                raise UserError(
                    f"{type(inner).__name__} waits for {wanted} clients ({name} is {fraction}), "
                    f"but its grid has {clients}: a fraction is at most 1"
                )


def set_cohort(strategy: Strategy, cohort: int, tell: Callable[[str, str], None]) -> None:
    """Make a strategy of the FedAvg family train `cohort` clients a round.

    Says so, or that it cannot.
    """
    for inner in wrapped(strategy):
        if hasattr(inner, "fraction_train") and hasattr(inner, "min_train_nodes"):
            # The size is the larger of fraction * clients (rounded down) and the minimum.
            inner.fraction_train, inner.min_train_nodes = 1e-9, cohort
            tell("cohort", f"{cohort} clients train in a round, as federated.cohort says")
            return
    tell(
        "cohort", f"federated.cohort is not used: {type(strategy).__name__} samples by its own rule"
    )


def wrapped(strategy: Strategy) -> Iterator[Strategy]:
    """A strategy, the one it wraps, and so on."""
    seen: set[int] = set()
    inner: object = strategy
    while isinstance(inner, Strategy) and id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        inner = getattr(inner, "strategy", None)
