"""Crews of one worker, for a learner that starts one: in a thread, or in a process of its own."""

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from covey.platform.runtime.crew import WorkerLost


class Threads:
    """See `Crew`."""

    def spawn(self, name, factory, *arguments):
        self._pool, self._target = ThreadPoolExecutor(1), factory(*arguments)
        return self

    def submit(self, method, *arguments):
        return self._pool.submit(getattr(self._target, method), *arguments)

    def is_ready(self, pending):
        return pending.done()

    def fetch(self, pending):
        return [one.result() for one in pending]


class Processes(Threads):
    """`pid` is the worker's."""

    def spawn(self, name, factory, *arguments):
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, become, (factory, arguments))
        self._name, self.pid = name, self._pool.submit(os.getpid).result()
        return self

    def submit(self, method, *arguments):
        return self._pool.submit(call, method, arguments)

    def fetch(self, pending):
        try:
            return super().fetch(pending)
        except BrokenProcessPool as error:
            raise WorkerLost(f"{self._name} died: {error}") from error


def become(factory, arguments):
    """In the worker's process."""
    globals()["target"] = factory(*arguments)


def call(method, arguments):
    return getattr(globals()["target"], method)(*arguments)
