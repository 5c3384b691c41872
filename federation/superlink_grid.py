"""The Grid of a run on a SuperLink: the ServerApp stays here, its messages go to SuperNodes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from flwr.app import Error, Message

from covey.federation.client_error import ClientError
from covey.federation.client_runner import Answer, Question
from covey.federation.flower_internals import ErrorCode
from covey.federation.generators import preserved
from covey.federation.records import copy_records
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.superlink_internals import RunNotRunningException, ServerTask, why
from covey.federation.supernodes import SuperNodes

POLL_S = 0.25
MOST_SENDS = 3
"""A message on which so many SuperNodes have died is the client's fault."""


class SuperLinkLost(Exception):
    """The SuperLink no longer answers, or has ended the run."""


@dataclass
class _Letter:
    """A question on its way: the SuperNode that it was sent to, and the ids of all copies."""

    question: Question
    node: int | None = None
    ids: list[str] = field(default_factory=list)


class SuperLinkGrid(SimulatedGrid):
    """Clients on SuperNodes. To the app they have the ids that they have in every Grid of ours
    (client p is node p + 2), so a strategy samples the same ones.

    What a client keeps in its context stays in its SuperNode: it is in no checkpoint. Its random
    generators are its own affair, too; an app that seeds itself from the message gives the same
    result everywhere. When a SuperNode is started again, the messages that it had not answered are
    sent once more; its client may then have done the same work twice.
    """

    def __init__(self, task: ServerTask, nodes: SuperNodes, **more: Any) -> None:
        super().__init__(**more)
        self._task = task
        self._nodes = nodes

    def wait(self, wait_s: float) -> bool:
        """Until every client has its SuperNode; False when that takes longer."""
        end = time.monotonic() + wait_s
        while any(self._nodes.node_of(client) is None for client in range(self.num_clients)):
            if time.monotonic() > end:
                return False
            time.sleep(POLL_S)
            with _losses():
                self._nodes.look(self._task.nodes)
        return True

    def _answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        letters = {number: _Letter(question) for number, question in enumerate(asked)}
        with preserved():  # requests that are tried again wait for random times
            while letters and left_s() > 0:
                answers = dict(self._turn_over(letters))
                for number in answers:
                    del letters[number]
                yield from answers.items()
                if letters:
                    time.sleep(POLL_S)

    def _turn_over(self, letters: dict[int, _Letter]) -> Iterator[tuple[int, Answer]]:
        """Send what can be sent, and take what has come."""
        with _losses():
            self._nodes.look(self._task.nodes)
            for number, letter in letters.items():
                node = self._nodes.node_of(letter.question.client)
                if node is None or node == letter.node:
                    continue
                if len(letter.ids) == MOST_SENDS:
                    reason = f"{MOST_SENDS} SuperNodes ended while they had this message"
                    yield number, _failed(letter, ErrorCode.NODE_UNAVAILABLE, reason)
                    continue
                letter.ids.append(self._task.send(letter.question.message, node))
                letter.node = node
            current = {
                letter.ids[-1]: number
                for number, letter in letters.items()
                if letter.node is not None
                and letter.node == self._nodes.node_of(letter.question.client)
            }
            for reply in self._task.replies(list(current)):
                number = current[reply.metadata.reply_to_message_id]
                yield number, _answer(letters[number], reply)


def _answer(letter: _Letter, reply: Message) -> Answer:
    """What the client says; an array whose bytes are not what it claims makes it an error."""
    if reply.has_error():
        return Answer(reply.error, letter.question.state)
    try:
        return Answer(copy_records(reply.content), letter.question.state)
    except ValueError as error:
        return _failed(letter, ClientError.REFUSED, str(error))


def _failed(letter: _Letter, code: int, reason: str) -> Answer:
    return Answer(Error(code, reason), letter.question.state)


@contextmanager
def _losses() -> Iterator[None]:
    """One line in the place of what a request says that fails for good."""
    try:
        yield
    except RunNotRunningException:
        raise SuperLinkLost("the SuperLink has ended the run") from None
    except httpx.HTTPError as error:
        raise SuperLinkLost(f"the SuperLink is lost: {why(error)}") from error
