"""Attempts of jobs that a test gives to a launcher itself, without a scheduler."""

from kube_place import NAMESPACE, Place, until

from covey.platform.jobs.daemon import make_run_folder
from covey.platform.jobs.kube_address import read_address
from covey.platform.jobs.kube_launcher import KubernetesLauncher
from covey.platform.jobs.launcher import Phase, Start


class Attempts:
    """A launcher, and attempts of a job for it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ended: set[tuple[str, int]] = set()
        self.said: list[str] = []
        self.launcher = self.another()

    def another(self, address: str = f"kubernetes://{NAMESPACE}") -> KubernetesLauncher:
        def has_ended(job_id: str, number: int) -> bool:
            return (job_id, number) in self.ended

        return KubernetesLauncher(
            read_address(address), self.place.home, has_ended, self.said.append, window_s=1
        )

    def start(self, job: dict[str, object], number: int = 1) -> Start:
        client = self.place.client
        job_id = client.submit({**job, "grace_s": 20})
        record = client.show(job_id)
        make_run_folder(record, client._store.job_file(job_id))
        return Start(f"{job_id}-{number}", record.run_dir, number, 20)

    def until(self, start: Start, phase: Phase) -> None:
        until(
            lambda: self.phase(start) is phase,
            lambda: self.place.api.objects.list("rayjobs", "lab"),
        )

    def phase(self, start: Start) -> Phase | None:
        sighting = self.launcher.look(start.submission_id)
        return None if sighting is None else sighting.phase
