"""Objects as an API server keeps them: versions, conflicts, finalizers, and a history to watch."""

import copy
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

Object = dict[str, Any]


class Refusal(Exception):
    """What a server answers with a `Status` object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


class Change(NamedTuple):
    """One entry of the history."""

    version: int
    kind: str
    resource: str
    found: Object


class Objects:
    """All objects by resource ("rayjobs"), namespace and name. Every method may be called from any
    thread; what goes in and comes out is a copy.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._history: list[Change] = []
        self._version = 1
        self._oldest = 0

    def create(self, resource: str, namespace: str, found: Object) -> Object:
        found = copy.deepcopy(found)
        name = found["metadata"]["name"]
        with self.changed:
            if (resource, namespace, name) in self._objects:
                message = f'{resource} "{name}" already exists'
                raise Refusal(409, "AlreadyExists", message)
            found["metadata"] |= {
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": now(),
            }
            return self._put("ADDED", resource, namespace, found)

    def get(self, resource: str, namespace: str, name: str) -> Object:
        with self.changed:
            found = self._objects.get((resource, namespace, name))
            if found is None:
                raise Refusal(404, "NotFound", f'{resource} "{name}" not found')
            return copy.deepcopy(found)

    def list(self, resource: str, namespace: str, selector: str = "") -> tuple[list[Object], int]:
        with self.changed:
            found = [
                copy.deepcopy(each)
                for (kind, where, _), each in self._objects.items()
                if kind == resource and where == namespace and matches(each, selector)
            ]
            return found, self._version

    def replace(self, resource: str, namespace: str, found: Object, part: str = "") -> Object:
        """`part`: "status" changes nothing but that; else everything but that is changed."""
        name = found["metadata"]["name"]
        with self.changed:
            known = self.get(resource, namespace, name)
            version = found["metadata"].get("resourceVersion")
            if version not in (None, known["metadata"]["resourceVersion"]):
                message = f'{resource} "{name}": the object has been modified; try again'
                raise Refusal(409, "Conflict", message)
            changed = copy.deepcopy(known if part == "status" else found)
            source = found if part == "status" else known
            changed.pop("status", None)
            if "status" in source:
                changed["status"] = copy.deepcopy(source["status"])
            for key in ("uid", "namespace", "creationTimestamp", "generation", "deletionTimestamp"):
                if key in known["metadata"]:
                    changed["metadata"][key] = known["metadata"][key]
            changed["metadata"]["generation"] += changed.get("spec") != known.get("spec")
            if "deletionTimestamp" in changed["metadata"]:
                if not changed["metadata"].get("finalizers"):
                    return self._remove(resource, namespace, changed)
            return self._put("MODIFIED", resource, namespace, changed)

    def patch(
        self, resource: str, namespace: str, name: str, patch: Object, part: str = ""
    ) -> Object:
        """A JSON merge patch."""
        with self.changed:
            known = self.get(resource, namespace, name)
            return self.replace(resource, namespace, merged(known, patch), part)

    def delete(self, resource: str, namespace: str, name: str, uid: str | None = None) -> Object:
        """At once, or once the finalizers are gone."""
        with self.changed:
            known = self.get(resource, namespace, name)
            if uid not in (None, known["metadata"]["uid"]):
                message = f"the UID in the precondition ({uid}) does not match"
                raise Refusal(409, "Conflict", message)
            if not known["metadata"].get("finalizers"):
                return self._remove(resource, namespace, known)
            known["metadata"].setdefault("deletionTimestamp", now())
            return self._put("MODIFIED", resource, namespace, known)

    def changes(self, resource: str, since: int) -> Iterator[Change]:
        """Those after `since` so far. Raises Refusal where the history no longer has them."""
        with self.changed:
            if since < self._oldest:
                message = f"too old resource version: {since} ({self._oldest})"
                raise Refusal(410, "Expired", message)
            found = [each for each in self._history if each.version > since]
        return (each for each in found if each.resource == resource)

    def forget(self) -> None:
        """Compact: watches can begin only from now on."""
        with self.changed:
            self._version += 1
            self._oldest = self._version
            self._history.clear()

    def _put(self, kind: str, resource: str, namespace: str, found: Object) -> Object:
        self._version += 1
        found["metadata"]["resourceVersion"] = str(self._version)
        self._objects[resource, namespace, found["metadata"]["name"]] = found
        self._history.append(Change(self._version, kind, resource, copy.deepcopy(found)))
        self.changed.notify_all()
        return copy.deepcopy(found)

    def _remove(self, resource: str, namespace: str, found: Object) -> Object:
        removed = self._put("DELETED", resource, namespace, found)
        del self._objects[resource, namespace, found["metadata"]["name"]]
        return removed


def merged(known: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(known) if isinstance(known, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def matches(found: Object, selector: str) -> bool:
    """Whether the labels are those of a selector such as "a=b,c=d", of equalities only."""
    labels = found["metadata"].get("labels", {})
    wanted = (term.partition("=") for term in selector.split(",") if term)
    return all(labels.get(key) == value for key, _, value in wanted)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
