"""The RayJobs of one scheduler as its API server tells of them, kept up to date by one watch."""

import threading
from collections.abc import Callable

from covey.platform.jobs.kube_api import Gone, KubeApi, RayJob

WINDOW_S = 10
"""A watch is asked for anew after so long, from where the last one ended."""
_PAUSES_S = (0.5, 1.0, 2.0, 5.0)


class RayJobCache:
    """Follows the RayJobs with certain labels from a thread of its own, until it is stopped.

    `in_between` is called in that thread after each window, with all of them.
    """

    def __init__(
        self,
        api: KubeApi,
        selector: str,
        in_between: Callable[[list[RayJob]], None],
        window_s: int = WINDOW_S,
    ) -> None:
        self._api = api
        self._selector = selector
        self._in_between = in_between
        self._window_s = window_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._found: dict[str, RayJob] = {}
        self._live = False
        self._version: str | None = None
        threading.Thread(target=self._follow, name="RayJobs", daemon=True).start()

    def stop(self) -> None:
        """Does not wait for the thread, which ends with its window."""
        self._over.set()

    def get(self, name: str) -> RayJob | None:
        """That RayJob as it is now; None where it is not known, or not whether that still holds."""
        with self._lock:
            return self._found.get(name) if self._live else None

    def all(self) -> list[RayJob]:
        """All RayJobs that were there when last heard of."""
        with self._lock:
            return list(self._found.values())

    def _follow(self) -> None:
        failures = 0
        while not self._over.is_set():
            try:
                self._watch_once()
                failures = 0
            except Gone:
                self._version = None
            except Exception:  # were the thread to end, what it knows would be taken for true
                self._over.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
            if not self._over.is_set():
                self._in_between(self.all())

    def _watch_once(self) -> None:
        """For one window; a list first where there is no version to go on from."""
        try:
            if self._version is None:
                found, version = self._api.ray_jobs(self._selector)
                with self._lock:
                    self._found = {each["metadata"]["name"]: each for each in found}
                self._version = version
            events = self._api.watch(self._selector, self._version, self._window_s)
            self._set_live(True)
            for kind, found_now in events:
                self._apply(kind, found_now)
                self._version = found_now["metadata"]["resourceVersion"]
                if self._over.is_set():
                    return
        except Exception:
            self._set_live(False)
            raise

    def _set_live(self, live: bool) -> None:
        with self._lock:
            self._live = live

    def _apply(self, kind: str, found: RayJob) -> None:
        name = found["metadata"].get("name")  # a BOOKMARK has none
        with self._lock:
            if kind == "DELETED":
                self._found.pop(name, None)
            elif kind in ("ADDED", "MODIFIED"):
                self._found[name] = found
