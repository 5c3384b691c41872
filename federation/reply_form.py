"""The form of replies: which arrays and metrics they hold, whatever the numbers in them.

Flower's averaging strategies give up all replies of a round when one has another form than the
rest. Which form is right only the app knows, and it need not be that of the message: so the round's
own replies decide.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict

from covey.federation.numpy_array import NUMPY
from covey.federation.records import entries_of
from covey.federation.wants import Wants

Part = tuple[str, str, str]
"""("array" or "metric", record, name); the name is empty for the record itself. ("order", record,
"") is how the arrays follow each other: some strategies go by that.
"""
Form = frozenset[tuple[Part, str]]
"""Each part with what it is."""


def odd_ones(sent: RecordDict, replies: Mapping[int, RecordDict], wants: Wants) -> dict[int, str]:
    """The replies (by place) whose form is not that of the others, with what is wrong in a line.

    The right form is the one that more than half of the usable replies have; failing that the most
    frequent one whose arrays are those that were sent. If there is none the replies may be meant to
    differ: that is for the strategy to say.
    """
    if len({tuple(_outlines(content, metrics=True)) for content in replies.values()}) < 2:
        return {}  # as is nearly always so
    forms = {place: _form(content, wants) for place, content in replies.items()}
    found = Counter(forms.values())
    if len(found) < 2:
        return {}
    usable = [form for form in found if _why_unusable(form, wants) is None]
    right = _right(usable or list(found), found, _form(sent, wants))
    odd: dict[int, str] = {}
    for place, form in forms.items():
        reason = _why_unusable(form, wants) if usable else None
        if reason is None and right is not None and form != right:
            reason = _difference(dict(form), dict(right))
        if reason is not None:
            odd[place] = reason
    return odd


def why_other(sent: RecordDict, reply: RecordDict, name: str) -> str | None:
    """Why a reply's arrays are not just the record `name` of the message; None if they are."""
    own = sent[name]
    if isinstance(own, ArrayRecord) and _outlines(reply, metrics=False) == [(name, _outline(own))]:
        return None
    asked = {
        part: what for part, what in _form(sent, Wants()) if part[0] != "metric" and part[1] == name
    }
    found = dict(_arrays(_form(reply, Wants())))
    return None if found == asked else _difference(found, asked)


def _outline(record: ArrayRecord | MetricRecord) -> tuple[Any, ...]:
    """All that a form tells of a record, quickly: the same outlines are the same forms."""
    entries = entries_of(record).items()
    if isinstance(record, ArrayRecord):
        return tuple((key, one.dtype, tuple(one.shape), one.stype) for key, one in entries)
    return tuple((key, len(value) if isinstance(value, list) else None) for key, value in entries)


def _outlines(content: RecordDict, metrics: bool) -> list[tuple[str, tuple[Any, ...]]]:
    """Of the records of arrays, and with `metrics` of those too, by name."""
    return [
        (name, _outline(record))
        for name, record in entries_of(content).items()
        if isinstance(record, ArrayRecord) or (metrics and isinstance(record, MetricRecord))
    ]


def _form(content: RecordDict, wants: Wants) -> Form:
    parts: list[tuple[Part, str]] = []
    for name, arrays in content.array_records.items():
        parts.append((("array", name, ""), ""))
        parts.append((("order", name, ""), ", ".join(arrays)))
        parts += [
            (("array", name, key), _kind(array, wants.shapes)) for key, array in arrays.items()
        ]
    for name, metrics in content.metric_records.items():
        parts.append((("metric", name, ""), ""))
        parts += [
            (("metric", name, key), f"a list of {len(value)}" if isinstance(value, list) else "")
            for key, value in metrics.items()
        ]
    return frozenset(parts)


def _kind(array: Array, shapes: bool) -> str:
    numbers = "numbers" if array.stype == NUMPY and _is_real(array.dtype) else array.dtype
    own = "" if array.stype == NUMPY else f" as {array.stype}"
    return f"{numbers}{own} {list(array.shape)}" if shapes else f"{numbers}{own}"


@lru_cache(maxsize=64)
def _is_real(dtype: str) -> bool:
    """Of whatever precision: averages take them all."""
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False


def _arrays(form: Form) -> Form:
    return frozenset(entry for entry in form if entry[0][0] != "metric")


def _is_as_sent(form: Form, sent: Form) -> bool:
    """Whether the arrays are all those of one or several of the records that were sent."""
    arrays = _arrays(form)
    records = {part[1] for part, _ in arrays}
    return bool(arrays) and arrays == {entry for entry in _arrays(sent) if entry[0][1] in records}


def _why_unusable(form: Form, wants: Wants) -> str | None:
    """Why no averaging strategy takes such a reply."""
    for kind in ("array", "metric") if wants.trains else ("metric",):
        records = sum(part[0] == kind and not part[2] for part, _ in form)
        if records != 1:
            return f"has {records} records of {kind}s, 1 is needed"
    weights = [what for part, what in form if part[0] == "metric" and part[2] == wants.weight]
    if not weights:
        return f"has no metric {wants.weight}, by which clients are weighed"
    return f"metric {wants.weight} is {weights[0]}, not a number" if weights[0] else None


def _right(usable: Sequence[Form], found: Mapping[Form, int], sent: Form) -> Form | None:
    def most(forms: Iterable[Form]) -> Form | None:
        # Of equally frequent ones the one with least in it: what was added may be anything.
        return max(forms, key=lambda form: (found[form], -len(form)), default=None)

    first = most(usable)
    if first is None or 2 * found[first] > sum(found[form] for form in usable):
        return first
    if not any(_arrays(form) for form in usable):
        return first
    return most(form for form in usable if _is_as_sent(form, sent))


def _difference(mine: Mapping[Part, str], right: Mapping[Part, str]) -> str:
    """The first part in which a form is not the right one."""
    if missing := right.keys() - mine.keys():
        return f"has no {_named(min(missing))}"
    if extra := mine.keys() - right.keys():
        return f"has {_named(min(extra))}, which was not expected"
    part = min(part for part, what in right.items() if mine[part] != what)
    found, expected = mine[part] or "a number", right[part] or "a number"
    return f"{_named(part)} is {found}, expected was {expected}"


def _named(part: Part) -> str:
    kind, record, name = part
    if kind == "order":
        return f"the order of {record}"
    return f"{kind} {name} of {record}" if name else f"record {record} of {kind}s"
