"""A Grid whose clients run in Ray actors."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from flwr.app import Error, RecordDict
from flwr.clientapp import ClientApp

from covey.federation.app_folder import ConfigValue
from covey.federation.client_actor import ClientActor, packed
from covey.federation.client_runner import Answer, Question
from covey.federation.flower_internals import ErrorCode
from covey.federation.generators import preserved
from covey.federation.numpy_array import owned
from covey.federation.shares import ClientTimes, dealt
from covey.federation.simulated_grid import SimulatedGrid
from covey.platform.jobfile.model import Resources
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost

AHEAD = 2
"""Calls that an actor has at a time: the next one is there when one is done."""
DEATHS = 3
"""So many actors may die over one client before it is given up."""
STARTS = 10
"""So many in a row may die before they are there: with a node those die too that Ray sends there
before it knows.
"""
LOOK_S = 0.25
GIVE_UP_S = 2.0
"""After the end of the time: an actor that has not broken off its client by then is replaced."""

Note = Callable[[str, str], None]


@dataclass
class Share:
    """Questions (by place) that go to an actor together, and how many actors died over them."""

    places: list[int]
    deaths: int = 0


@dataclass
class Member:
    """An actor, and the calls that it has not answered, the oldest first."""

    worker: Worker
    calls: deque[tuple[Share, Pending]] = field(default_factory=deque)


class ActorGrid(SimulatedGrid):
    """Clients in `actors` Ray actors (by default one for each CPU), with the same replies as an
    `InlineGrid`'s, bit for bit, however many there are.

    What several messages carry is laid down once for all actors; clients are dealt out by the time
    they took before. An actor that dies is replaced and its clients are asked again; a client over
    which three died is an error. Without a `crew` the grid starts a Ray of its own: `close` ends
    it, and so does the end of a `with` block. `open_app` makes the ClientApp in the actor, where it
    cannot be sent. `note` hears of actors that are replaced.
    """

    def __init__(
        self,
        client_app: ClientApp | None = None,
        *,
        num_clients: int,
        actors: int | None = None,
        seed: int = 0,
        run_config: Mapping[str, ConfigValue] | None = None,
        crew: Crew | None = None,
        open_app: Callable[[], ClientApp] | None = None,
        threads: int = 1,
        note: Note = lambda kind, message: None,
        **more: Any,
    ) -> None:
        super().__init__(num_clients=num_clients, run_config=run_config, **more)
        if client_app is not None:
            open_app = partial(_sent, client_app)
        if open_app is None:
            raise ValueError("an ActorGrid needs a client_app, or open_app to make it")
        actors = len(os.sched_getaffinity(0)) if actors is None else actors
        if actors < 1:
            raise ValueError(f"actors is {actors}; at least one is needed")
        self.replaced = 0
        self._failed_starts = 0
        self._note = note
        self._times = ClientTimes()
        self._crew = _private_crew(actors) if crew is None else crew
        self._arguments = open_app, num_clients, seed, self.run_config, threads
        self._members = [Member(self._spawn(number)) for number in range(actors)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._crew.close()

    def _spawn(self, number: int) -> Worker:
        return self._crew.spawn(f"clients {number}", ClientActor, *self._arguments)

    def _answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        if not asked:
            return
        with preserved():  # Ray draws numbers, and so do workers that are threads
            yield from self._all_answers(asked, left_s)

    def _all_answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        shared, parcels = packed(asked)
        laid_down = self._crew.share(shared)
        seconds = self._times.expected_s([question.client for question in asked])
        waiting = deque(Share(places) for places in dealt(seconds, len(self._members)))

        def hand_out() -> None:
            for depth in range(AHEAD):
                for member in self._members:
                    if waiting and len(member.calls) <= depth and left_s() > 0:
                        share = waiting.popleft()
                        own = [parcels[place] for place in share.places]
                        call = member.worker.submit(
                            "answer", laid_down, own, time.time() + left_s()
                        )
                        member.calls.append((share, call))

        hand_out()
        while any(member.calls for member in self._members):
            firsts = [member.calls[0][1] for member in self._members if member.calls]
            self._crew.wait(firsts, min(LOOK_S, max(0.0, left_s() + GIVE_UP_S)))
            for number in range(len(self._members)):
                while self._is_done(self._members[number]):
                    yield from self._collected(number, asked, waiting)
            if left_s() <= -GIVE_UP_S:
                self._give_up()
            hand_out()

    def _is_done(self, member: Member) -> bool:
        return bool(member.calls) and self._crew.is_ready(member.calls[0][1])

    def _collected(
        self, number: int, asked: Sequence[Question], waiting: deque[Share]
    ) -> Iterator[tuple[int, Answer]]:
        """The answers of an actor's oldest call; if it died, what it had goes to others."""
        member = self._members[number]
        share, call = member.calls[0]
        try:
            (returned,) = self._crew.fetch([call])
        except WorkerLost as error:
            yield from self._bereaved(number, error, waiting)
            return
        member.calls.popleft()
        self._failed_starts = 0
        if any(one.broken_off for one in returned):
            self._end(number)
        for place, one in zip(share.places, returned, strict=True):
            if one.answer is not None:
                self._times.took(asked[place].client, one.seconds)
                yield place, Answer(one.answer.content, owned(one.answer.state), one.answer.story)

    def _bereaved(
        self, number: int, lost: WorkerLost, waiting: deque[Share]
    ) -> Iterator[tuple[int, Answer]]:
        """Another actor in the place of one that died. The clients of its oldest call are asked
        again one by one, so that only the one that kills its process is given up.
        """
        self._failed_starts = 0 if lost.begun else self._failed_starts + 1
        if self._failed_starts >= STARTS:
            raise lost
        calls = self._replace(number, str(lost).splitlines()[0])
        for share, _ in reversed(list(calls)[1:]):
            waiting.appendleft(share)
        oldest = calls[0][0]
        deaths = oldest.deaths + lost.begun
        if len(oldest.places) == 1 and deaths >= DEATHS:
            reason = f"{DEATHS} processes died over this client"
            yield (
                oldest.places[0],
                Answer(Error(ErrorCode.CLIENT_APP_CRASHED, reason), RecordDict()),
            )
            return
        for place in reversed(oldest.places):
            waiting.appendleft(Share([place], deaths))

    def _replace(self, number: int, why: str) -> deque[tuple[Share, Pending]]:
        """Start another actor in its place. Returns the calls that the old one had."""
        calls, self._members[number] = self._members[number].calls, Member(self._spawn(number))
        self.replaced += 1
        self._note("replaced", f"{why}; another one takes its place")
        return calls

    def _give_up(self) -> None:
        """Replace actors whose clients are still at work after the time was over."""
        for number, member in enumerate(self._members):
            if member.calls:
                self._end(number)

    def _end(self, number: int) -> None:
        self._crew.end(self._members[number].worker)
        self._replace(number, f"clients {number} was at work after the time was over")


def _sent(client_app: ClientApp) -> ClientApp:
    return client_app


def _private_crew(actors: int) -> Crew:
    from covey.platform.runtime.direct_crew import DirectCrew
    from covey.platform.runtime.even_crew import EvenCrew

    return DirectCrew(EvenCrew(Resources(cpus=actors), actors, "local"))
