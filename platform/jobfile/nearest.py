"""The name that somebody most likely meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of `names` most like `word`, whatever case and hyphens; None when none is like it."""
    plain = {_plain(name): name for name in names}
    close = get_close_matches(_plain(word)[:100], plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
