"""What must hold between `engine: grpc` and the other keys of a `peer-to-peer:` section."""

from typing import TYPE_CHECKING

from covey.federation.section import BUILT_IN_APPS

if TYPE_CHECKING:
    from covey.federation.p2p.section import PeerSection

LOSES_NONE = {
    "choco": "neighbours would know another estimate of a peer than it has itself",
    "sgp": "weight that is on its way would be lost for good",
}
"""Methods that cannot bear a lost message, and why."""


def why_not_real(section: "PeerSection") -> str | None:
    """Why peers cannot be processes that speak over a network; None where they can."""
    if why := LOSES_NONE.get(section.method):
        return f"method {section.method} cannot bear a lost message: {why}"
    robust = section.robust
    if robust is not None and robust.kind == "self-centred-clipping" and tell_samples(section):
        return (
            "self-centred-clipping bears those who send what they like, and with weights: "
            "data-size they would tell their own weight; write weights: uniform"
        )
    return None


def tell_samples(section: "PeerSection") -> bool:
    """Whether real peers tell each other how many samples they have: who trains by an app folder
    cannot know it of others. Of a section with its `weights`.
    """
    return section.weights == "data-size" and section.app not in BUILT_IN_APPS
