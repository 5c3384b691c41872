"""The scheduler's turns, with a clock and a cluster played by hand, over both stores."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from covey.platform.errors import UserError
from covey.platform.jobs.admission import Capacity
from covey.platform.jobs.executor import Executor
from covey.platform.jobs.job import Job, State
from covey.platform.jobs.launcher import CannotStart, MemoryLauncher, Phase, Sighting, Unreachable
from covey.platform.jobs.lease import LEASE_S, LeaseLost, claim
from covey.platform.jobs.process import ProcessIdentity
from covey.platform.jobs.scheduler import Scheduler
from covey.platform.jobs.states import Resumed, Signal, StopRequested, apply, new_job
from covey.platform.jobs.store import JobStore
from covey.platform.runs.fence import Fence

HOLDER = ProcessIdentity("here", 1, 1.0)


@dataclass
class World:
    """A store, a cluster, a clock and the scheduler at work."""

    store: JobStore
    runs: Path
    cluster: MemoryLauncher = field(default_factory=MemoryLauncher)
    now_s: float = 1000.0
    prepare: Callable[[Job, str], None] = lambda job, text: None
    said: list[str] = field(default_factory=list)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.take_over()

    def take_over(self) -> None:
        """A new scheduler in the place of the old one, whose process is dead."""
        lease = self.store.change_lease(
            lambda lease: claim(lease, HOLDER, "", self.now_s, lambda holder: True)
        )
        assert lease is not None
        executor = Executor(
            self.store,
            self.cluster,
            lambda job, text: self.prepare(job, text),
            lease.epoch,
            clock=lambda: self.now_s,
            say=self.said.append,
        )
        self.scheduler = Scheduler(executor)

    def add(self, job_id: str, **fields: object) -> str:
        job = Job(job_id, job_id, str(self.runs / job_id), submitted_s=self.now_s, max_attempts=3)
        self.store.add(new_job(replace(job, **fields)), "")  # type: ignore[arg-type]
        self.now_s += 0.001
        return job_id

    def turn(self, after_s: float = 0.5) -> bool:
        self.now_s += after_s
        return self.scheduler.turn()

    def send(self, job_id: str, signal: Signal) -> None:
        job = self.store.get(job_id)
        self.store.replace(job, apply(job, signal)[0])

    def succeed(self, submission: str) -> None:
        """The attempt's driver ends in order, its training done."""
        job_id, _, attempt = submission.rpartition("-")
        folder = self.runs / job_id
        folder.mkdir(exist_ok=True)
        (folder / "result.json").write_text(f'{{"attempt": {attempt}, "state": "succeeded"}}')
        self.cluster.play(submission, Phase.SUCCEEDED, 0)

    def state(self, job_id: str) -> str:
        return str(self.store.get(job_id).state)

    def start(self, job_id: str, **fields: object) -> str:
        """A job brought to running; its submission id."""
        self.add(job_id, **fields)
        self.turn()
        self.cluster.play(f"{job_id}-1", Phase.RUNNING)
        self.turn()
        assert self.state(job_id) == "running"
        return f"{job_id}-1"


@pytest.fixture
def world(store: JobStore, tmp_path: Path) -> World:
    return World(store, tmp_path)


def test_a_job_runs_once_from_submit_to_success(world: World):
    assert not world.turn()
    submission = world.start("a")
    world.succeed(submission)
    assert world.turn()
    assert not world.turn(5)
    assert world.state("a") == "succeeded"
    assert world.cluster.started == {"a-1": 1}


def test_only_what_fits_starts_and_the_rest_follows(world: World):
    first = world.start("a", cpus=2)
    world.add("b")
    world.add("c", priority=1)
    world.add("d")
    world.turn()
    assert [world.state(job) for job in "bcd"] == ["queued"] * 3
    world.succeed(first)
    world.turn()
    world.turn()
    assert [world.state(job) for job in "bcd"] == ["starting", "starting", "queued"]


def test_what_never_fits_fails_on_a_fixed_cluster_and_waits_on_another(world: World):
    world.add("big", cpus=3)
    world.add("small")
    world.turn()
    assert world.state("big") == "failed" and world.state("small") == "starting"
    assert "3 CPUs" in world.store.get("big").reason
    world.cluster.fixed = False
    world.add("bigger", cpus=4)
    world.turn()
    assert world.state("bigger") == "queued"
    world.cluster.total = Capacity(8, 0)
    world.turn(5)
    assert world.state("bigger") == "starting"


def test_a_failure_is_tried_again_after_its_pause(world: World):
    submission = world.start("a", backoff_s=10, max_attempts=2)
    world.cluster.play(submission, Phase.FAILED, 1)
    world.turn()
    assert world.state("a") == "waiting"
    world.turn(9)
    assert world.state("a") == "waiting"
    world.turn(4)
    world.turn()
    assert world.cluster.started == {"a-1": 1, "a-2": 1}
    world.cluster.play("a-2", Phase.FAILED, -9)
    world.turn()
    assert world.state("a") == "failed"
    assert "signal 9" in world.store.get("a").reason


def test_a_users_mistake_is_not_tried_again(world: World):
    submission = world.start("a")
    (world.runs / "a").mkdir()
    result = '{"attempt": 1, "state": "failed", "error": "no such data"}'
    (world.runs / "a" / "result.json").write_text(result)
    world.cluster.play(submission, Phase.FAILED, 2)
    world.turn()
    job = world.store.get("a")
    assert (job.state, job.reason) == (State.FAILED, "no such data")
    assert job.last_attempt.exit_status == 2


def test_a_job_ended_from_outside_is_tried_again(world: World):
    submission = world.start("a", backoff_s=0)
    world.cluster.play(submission, Phase.FAILED, 4)
    world.turn()
    job = world.store.get("a")
    assert job.state is State.STARTING and "ended from outside" in job.attempts[0].reason


def test_what_the_driver_printed_is_kept_whatever_it_is(world: World):
    submission = world.start("a")
    world.cluster.printed = "caf\u00e9 \udcff"  # a stray byte, as Ray hands it on
    world.succeed(submission)
    world.turn()
    assert world.state("a") == "succeeded"
    assert (world.runs / "a" / "driver-1.txt").read_bytes() == b"caf\xc3\xa9 ?"


def test_exit_status_zero_alone_is_no_success(world: World):
    submission = world.start("a", max_attempts=1)
    world.cluster.play(submission, Phase.SUCCEEDED, 0)
    world.turn()
    assert world.state("a") == "failed"


def test_dependencies(world: World):
    submission = world.start("first")
    world.add("second", after=("first",))
    world.add("third", after=("first", "second"))
    world.turn()
    assert world.state("second") == "waiting"
    world.succeed(submission)
    world.turn()
    world.turn()
    assert world.state("second") == "starting" and world.state("third") == "waiting"
    world.cluster.play("second-1", Phase.FAILED, 2)
    world.turn()
    world.turn()
    assert world.state("third") == "failed"
    assert "second, which failed" in world.store.get("third").reason
    world.send("third", Resumed(world.now_s))
    world.turn()
    assert world.state("third") == "failed"


def test_a_job_gone_on_with_in_the_foreground_is_resumed_after_that(world: World):
    submission = world.start("a", max_attempts=1)
    world.cluster.play(submission, Phase.FAILED, 1)
    world.turn()
    (world.runs / "a").mkdir()
    for number in (1, 2):  # the scheduler's attempt, and that of `covey resume RUN_DIR`
        Fence.claim(world.runs / "a", number).release()
    world.send("a", Resumed(world.now_s))
    world.turn()
    assert world.cluster.starts["a-3"].attempt == 3


def test_a_turn_over_many_dependencies_asks_once(world: World, monkeypatch: pytest.MonkeyPatch):
    world.start("first", cpus=2)
    for number in range(30):
        world.add(f"after-{number}", after=("first",))
    asked: list[str] = []
    get = world.store.get
    monkeypatch.setattr(world.store, "get", lambda job_id: asked.append(job_id) or get(job_id))
    world.turn()
    assert asked == ["first"]  # the one that runs is looked at


def test_stop_while_running(world: World):
    submission = world.start("a", grace_s=5)
    world.send("a", StopRequested(world.now_s))
    world.turn()
    world.turn()
    assert world.cluster.stops == {submission: 1}
    assert world.state("a") == "stopping"
    world.turn(30)  # it ignored us: ask again
    assert world.cluster.stops == {submission: 2}
    world.cluster.play(submission, Phase.STOPPED)
    world.turn()
    assert world.state("a") == "stopped"


def test_stop_before_the_submit_reached_the_cluster(world: World):
    world.cluster.fails_before = Unreachable("down")
    world.add("a")
    world.turn()
    world.send("a", StopRequested(world.now_s))
    world.turn()
    assert world.state("a") == "stopped" and not world.cluster.started


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Unreachable("timed out"), ValueError("500")])
def test_a_failed_submit_starts_once(world: World, when: str, error: Exception):
    setattr(world.cluster, f"fails_{when}", error)
    world.add("a")
    for _ in range(3):
        world.turn()
    assert world.cluster.started == {"a-1": 1}
    assert world.store.get("a").num_attempts == 1


def test_a_scheduler_that_died_is_replaced_without_a_second_start(world: World):
    running = world.start("a")
    world.cluster.fails_before = KeyboardInterrupt()  # killed between the record and the submit
    world.add("b")
    with pytest.raises(KeyboardInterrupt):
        world.turn()
    assert world.state("b") == "starting"
    world.take_over()
    world.turn()
    world.turn()
    assert world.cluster.started == {"a-1": 1, "b-1": 1}
    world.succeed(running)
    world.turn()
    assert world.state("a") == "succeeded"


def test_a_stalled_scheduler_cannot_write_or_start(world: World):
    world.start("a")
    stalled = world.scheduler
    world.now_s += LEASE_S + 1
    world.take_over()
    world.add("b")
    with pytest.raises(LeaseLost):
        stalled.turn()
    assert world.cluster.started == {"a-1": 1}


def test_an_attempt_that_never_begins_is_ended(world: World):
    world.add("a", backoff_s=0)
    world.turn()
    world.turn(100)
    assert world.state("a") == "starting"
    world.turn(30)
    world.turn()
    world.turn()
    assert world.cluster.stops == {"a-1": 1}
    assert world.cluster.started == {"a-1": 1, "a-2": 1}


def test_time_in_a_clusters_own_queue_does_not_count(world: World):
    world.add("a")
    world.turn()
    world.cluster.sightings["a-1"] = Sighting(Phase.PENDING, queued=True)
    for _ in range(3):
        world.turn(after_s=100)
    assert world.store.get("a").state is State.STARTING
    world.cluster.sightings["a-1"] = Sighting(Phase.PENDING)
    world.turn(after_s=100)
    assert world.store.get("a").state is State.STARTING
    world.turn(after_s=100)
    assert world.store.get("a").attempts[0].reason == "did not begin within 120 s"


def test_what_the_cluster_never_takes_has_failed(world: World):
    world.cluster.fails_before = CannotStart("it is no job")
    world.add("a")
    world.turn()
    job = world.store.get("a")
    assert (job.state, job.num_attempts, job.reason) == ("failed", 1, "it is no job")


def test_an_attempt_that_was_never_submitted_waits_for_a_scheduler(world: World):
    world.cluster.fails_before = KeyboardInterrupt()  # killed between the record and the submit
    world.add("a", max_attempts=1)
    with pytest.raises(KeyboardInterrupt):
        world.turn()
    world.now_s += 3600
    world.take_over()
    world.turn()
    assert world.cluster.started == {"a-1": 1}
    assert world.state("a") == "starting"


def test_a_lost_head_costs_one_attempt(world: World):
    world.start("a", backoff_s=0)
    world.cluster.renew("memory-2")
    world.turn()
    world.turn()
    world.turn()
    job = world.store.get("a")
    assert [attempt.cluster for attempt in job.attempts] == ["memory-1", "memory-2"]
    assert "gone" in job.attempts[0].reason


def test_a_run_that_finished_before_its_head_died_has_succeeded(world: World):
    world.start("a")
    (world.runs / "a").mkdir()
    (world.runs / "a" / "result.json").write_text('{"attempt": 1, "state": "succeeded"}')
    world.cluster.renew("memory-2")
    world.turn()
    assert world.state("a") == "succeeded"


def test_a_silent_cluster_is_borne_for_a_while(world: World):
    world.start("a")
    world.cluster.up = False
    world.turn()
    world.turn(100)
    assert world.state("a") == "running"
    world.turn(50)
    assert world.state("a") == "queued" and world.store.get("a").num_attempts == 1
    assert len([line for line in world.said if "does not answer" in line]) == 1


def test_trouble_with_one_job_leaves_the_others_alone(world: World):
    def prepare(job: Job, text: str) -> None:
        if job.name == "mistaken":
            raise UserError("its code folder is gone")
        if job.name == "unlucky":
            raise OSError("no room")

    world.prepare = prepare
    world.cluster.total = Capacity(9, 0)
    for name in ("mistaken", "unlucky", "fine"):
        world.add(name)
    world.turn()
    assert [world.state(name) for name in ("mistaken", "unlucky", "fine")] == [
        "failed",
        "starting",
        "starting",
    ]
    assert world.store.get("mistaken").reason == "its code folder is gone"
    world.prepare = lambda job, text: None
    world.turn()
    assert world.cluster.started == {"unlucky-1": 1, "fine-1": 1}
