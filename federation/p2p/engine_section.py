"""What must hold between `engine: grpc` and the other keys of a `peer-to-peer:` section."""

from covey.federation.section import BUILT_IN_APPS

LOSES_NONE = {
    "choco": "neighbours would know another estimate of a peer than it has itself",
    "sgp": "weight that is on its way would be lost for good",
}
"""Methods that cannot bear a lost message, and why."""


def why_not_real(method: str, app: str) -> str | None:
    """Why peers cannot be processes that speak over a network; None where they can."""
    if app not in BUILT_IN_APPS:
        return f"real peers train {', '.join(BUILT_IN_APPS)} so far, not an app folder"
    if why := LOSES_NONE.get(method):
        return f"method {method} cannot bear a lost message: {why}"
    return None
