"""The rules that a custom resource definition carries as expressions (`x-kubernetes-validations`).

The library takes 0.2 s to import, so it is imported when the first rule applies.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from covey.platform.errors import Key
from covey.platform.kubernetes.faults import Finding, Findings

if TYPE_CHECKING:
    from cel import Program


def broken_rules(value: Any, rules: Sequence[Mapping[str, Any]], key: Key) -> Findings:
    """The rules of a new object that `value` breaks, at most one at a place."""
    for rule in rules:
        program = _compiled(rule["rule"])
        # A rule about the value before the change does not apply to an object that is new.
        if not program or "oldSelf" in program.variables() or _holds(program, value):
            continue
        yield Finding(key, rule.get("message") or f"breaks the rule {rule['rule']}")
        return


@lru_cache
def _compiled(rule: str) -> "Program | None":
    """None for what only Kubernetes' own dialect knows: such a rule is left to the server."""
    import cel

    try:
        return cel.compile(rule)
    except ValueError:
        return None


def _holds(program: "Program", value: Any) -> bool:
    """A rule that cannot be computed over this value is broken, as for a server."""
    try:
        return program.execute({"self": _without_nulls(value)}) is not False
    except RuntimeError:  # a function of Kubernetes' own
        return True
    except (KeyError, TypeError, ValueError):
        return False


def _without_nulls(value: Any) -> Any:
    """A server drops them before it looks at rules, for which `has` would else be true."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
