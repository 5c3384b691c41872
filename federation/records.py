"""Flower's records without what makes them slow: checks of what was checked before, and copies.

`tests/federation/test_flower_internals.py` holds this against Flower's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app.message.recorddict import _check_key, _SyncedDict
from flwr.app.message.typeddict import TypedDict

from covey.federation.numpy_array import checked

Kind = TypeVar("Kind", ArrayRecord, MetricRecord, ConfigRecord)


class Records(RecordDict):
    """A RecordDict whose views of one kind are made without a check of what was checked before:
    strategies ask for several of each reply.
    """

    @property
    def array_records(self) -> TypedDict[str, ArrayRecord]:
        return _view(self, ArrayRecord)

    @property
    def metric_records(self) -> TypedDict[str, MetricRecord]:
        return _view(self, MetricRecord)

    @property
    def config_records(self) -> TypedDict[str, ConfigRecord]:
        return _view(self, ConfigRecord)


def _view(records: RecordDict, kind: type[Kind]) -> TypedDict[str, Kind]:
    # Without Flower's constructor, which takes longer than all else, and whose views hold
    # themselves, and with them the records, until garbage is collected.
    view = _SyncedDict.__new__(_SyncedDict)
    view.__dict__.update(
        _check_key_fn=_check_key,
        _check_value_fn=CHECKS[kind],
        recorddict=records,
        allowed_type=kind,
        _data={name: one for name, one in entries_of(records).items() if isinstance(one, kind)},
    )
    return view


def _check_of(kind: type[Kind]) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")

    return check


CHECKS = {
    ArrayRecord: _check_of(ArrayRecord),
    MetricRecord: _check_of(MetricRecord),
    ConfigRecord: _check_of(ConfigRecord),
}


def records_of(**records: ArrayRecord | MetricRecord | ConfigRecord) -> RecordDict:
    """Records whose kinds are known."""
    made = Records()
    entries_of(made).update(records)
    return made


def array_record(arrays: Mapping[str, Array]) -> ArrayRecord:
    """These very arrays: Flower's constructor would make others of them."""
    made = ArrayRecord()
    entries_of(made).update(arrays)
    return made


def metric_record(metrics: Mapping[str, int | float | list[float]]) -> MetricRecord:
    """Numbers whose kinds are known."""
    made = MetricRecord()
    entries_of(made).update(metrics)
    return made


def copy_records(records: RecordDict) -> RecordDict:
    """Records of all kinds that can be changed without touching the original.

    The numbers in arrays cannot be changed, and are shared. ValueError for an array whose bytes are
    not what it says they are.
    """
    twin = Records()
    entries = entries_of(twin)
    for name, record in entries_of(records).items():
        entries[name] = (
            _copy_arrays(record) if isinstance(record, ArrayRecord) else _copy_values(record)
        )
    return twin


def entries_of(record: object) -> dict[str, Any]:
    """A record's own dict: going past the type checks, which cost more than a copy of it."""
    entries: dict[str, Any] = record.__dict__["_data"]
    return entries


def records_in(records: RecordDict, kind: type[Kind]) -> list[Kind]:
    """Those of a kind, in order: quicker than a view of them."""
    return [one for one in entries_of(records).values() if isinstance(one, kind)]


def _copy_arrays(record: ArrayRecord) -> ArrayRecord:
    return array_record({name: checked(array) for name, array in entries_of(record).items()})


def _copy_values(record: MetricRecord | ConfigRecord) -> MetricRecord | ConfigRecord:
    twin = record.copy()
    entries = entries_of(twin)
    for name, value in entries.items():
        if isinstance(value, list):
            entries[name] = value.copy()
    return twin
