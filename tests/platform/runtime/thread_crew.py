"""Workers in threads of the test's own process, which are lost whenever it says so."""

import queue
import threading
import time

from covey.platform.runtime.crew import WorkerLost


class Answer:
    def __init__(self):
        self.event, self.value, self.error = threading.Event(), None, None
        self.then = lambda: None

    def settle(self, value=None, error=None):
        if not self.event.is_set():
            self.value, self.error = value, error
            self.event.set()
            self.then()


class Worker:
    """Answers in a thread of its own, until it is lost."""

    begun = True
    """Whether those that are lost were there already."""

    def __init__(self, name, factory, arguments):
        self.name, self.lost, self.calls, self.asked = name, False, queue.Queue(), []
        self.loses = None
        self.target = None
        self.arguments = arguments
        threading.Thread(target=self._serve, args=(factory, arguments), daemon=True).start()

    def _serve(self, factory, arguments):
        self.target = factory(*arguments)
        while not self.lost:
            method, given, answer = self.calls.get()
            try:
                values = [one.value if isinstance(one, Answer) else one for one in given]
                answer.settle(getattr(self.target, method)(*values))
            except Exception as error:
                answer.settle(error=error)

    def submit(self, method, *arguments):
        answer = Answer()
        self.asked.append(answer)
        if method == self.loses:
            self.lose()
        if self.lost:
            answer.settle(error=WorkerLost(f"{self.name} died", self.begun))
        else:
            self.calls.put((method, arguments, answer))
        return answer

    def lose(self):
        """Nobody hears of it any more, and it cannot go on with what it was doing."""
        self.lost = True
        for answer in self.asked:
            answer.settle(error=WorkerLost(f"{self.name} died", self.begun))
        if self.target is not None:
            vars(self.target).clear()


class ThreadCrew:
    """`loses` names, for the next workers of a name, the call over which each dies."""

    def __init__(self, **loses):
        self.loses, self.workers, self.children = loses, {}, []
        self.free = 0.0

    def spawn(self, name, factory, *arguments):
        worker = Worker(name, factory, arguments)
        kind = name.partition(" ")[0]
        worker.loses = self.loses[kind].pop(0) if self.loses.get(kind) else None
        self.workers.setdefault(name, []).append(worker)
        return worker

    def free_cpus(self):
        return self.free

    def spans_nodes(self):
        return False

    def helpers(self):
        def make():
            self.children.append(ThreadCrew())
            return self.children[-1]

        return make

    def pids(self):
        return {}

    def close(self):
        for crew in self.children:
            crew.close()
        for workers in self.workers.values():
            for worker in workers:
                worker.lose()

    def newest(self, name):
        return self.workers[name][-1]

    def share(self, value):
        answer = Answer()
        answer.settle(value)
        return answer

    def fetch(self, pending):
        for answer in pending:
            answer.event.wait()
            if answer.error is not None:
                raise answer.error
        return [answer.value for answer in pending]

    def is_ready(self, pending):
        return pending.event.is_set()

    def when_ready(self, pending, then):
        pending.then = then
        if pending.event.is_set():
            then()

    def wait(self, pending, timeout_s):
        deadline = time.monotonic() + timeout_s
        while not any(map(self.is_ready, pending)) and time.monotonic() < deadline:
            time.sleep(0.002)

    def end(self, worker):
        worker.lose()
