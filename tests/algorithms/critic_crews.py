"""Crews for one worker, for learners that start one: in a thread, or in a process of its own."""

from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context

from covey.platform.runtime.crew import WorkerLost


class Calls:
    """A worker in a thread, and the crew it is of. `process` and `died` are for those elsewhere."""

    def spawn(self, name, factory, *arguments):
        self.name, self._pool = name, ThreadPoolExecutor(1)
        self._target = factory(*arguments)
        return self

    def submit(self, method, *arguments):
        return self._pool.submit(getattr(self._target, method), *arguments)

    def is_ready(self, pending):
        return pending.done()

    def fetch(self, pending):
        return [one.result() for one in pending]


class Processes:
    """A worker in a process of its own: its calls begin with the endless one."""

    def spawn(self, name, factory, *arguments):
        self.name, self._made, self._calls = name, (factory, arguments), []
        return self

    def submit(self, method, *arguments):
        self._calls.append((method, arguments))
        if method == "run":
            context = get_context("spawn")
            given = *self._made, self._calls
            self.process = context.Process(target=serve, args=given, daemon=True)
            self.process.start()
        return Future()

    def is_ready(self, pending):
        return not self.process.is_alive()

    def fetch(self, pending):
        raise WorkerLost(f"{self.name} died: status {self.process.exitcode}")


def serve(factory, arguments, calls):
    """In the worker's process."""
    target = factory(*arguments)
    for method, given in calls:
        getattr(target, method)(*given)
