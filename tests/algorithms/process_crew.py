"""Workers in processes of their own, without Ray: for what is shown with `kill -9`."""

import multiprocessing

from covey.platform.runtime.crew import WorkerLost

CONTEXT = multiprocessing.get_context("spawn")


def work(may_begin, factory, arguments, method):
    may_begin.wait()
    getattr(factory(*arguments), method)()


class ProcessWorker:
    def __init__(self, name, *made):
        self.name, self._made = name, made
        self.process = None

    def submit(self, method):
        """The one call of its life."""
        self.process = CONTEXT.Process(target=work, args=(*self._made, method), daemon=True)
        self.process.start()
        return self


class ProcessCrew:
    """Workers begin as soon as they `may_begin`."""

    def __init__(self):
        self.workers, self.may_begin = {}, CONTEXT.Event()
        self.may_begin.set()

    def spawn(self, name, factory, *arguments):
        self.workers[name] = ProcessWorker(name, self.may_begin, factory, arguments)
        return self.workers[name]

    def is_ready(self, pending):
        return not pending.process.is_alive()

    def fetch(self, pending):
        raise WorkerLost(f"{pending[0].name} died")

    def pids(self):
        return {name: worker.process.pid for name, worker in self.workers.items()}

    def end(self, worker):
        worker.process.kill()
        worker.process.join()

    def close(self):
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.join()
            worker.process.close()
