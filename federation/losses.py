"""What is said of clients whose replies are errors."""

from collections.abc import Callable, Sequence

from flwr.app import Message

from covey.federation.client_error import ClientError

Tell = Callable[..., None]
"""`Run.event`: kind, message, fields."""
WORDS = {ClientError.REFUSED: "refused", ClientError.LATE: "late", ClientError.DROPPED: "dropped"}


def good(replies: Sequence[Message]) -> list[Message]:
    """Those that are no errors."""
    return [reply for reply in replies if not reply.has_error()]


def fate(reply: Message) -> str:
    """An error reply in one word: failed, refused, late or dropped."""
    return next((word for code, word in WORDS.items() if code == reply.error.code), "failed")


def is_refused(reply: Message) -> bool:
    """Whether a client has answered, but its reply is not used."""
    return reply.has_error() and fate(reply) == "refused"


def tell_losses(tell: Tell, where: str, replies: Sequence[Message]) -> None:
    """One event a kind, with the nodes. Simulated dropouts are not told but counted: they are what
    was asked for.
    """
    for word, bad in _by_fate(replies).items():
        if word != "dropped":
            nodes = sorted({reply.metadata.src_node_id for reply in bad})
            tell(f"client-{word}", f"{where}: {_line(word, bad, len(replies))}", nodes=nodes)


def summary(replies: Sequence[Message]) -> str:
    """How the clients did, for the case that too few did well."""
    lines = [_line(word, bad, len(replies)) for word, bad in _by_fate(replies).items()]
    return "; ".join(lines) or f"{len(replies)} clients replied"


def _by_fate(replies: Sequence[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for reply in replies:
        if reply.has_error():
            found.setdefault(fate(reply), []).append(reply)
    return found


def _line(word: str, bad: Sequence[Message], asked: int) -> str:
    reason = " ".join((bad[0].error.reason or "").split())
    first = f"first: node {bad[0].metadata.src_node_id}: {reason}"
    verb = word if word == "failed" else f"{'was' if len(bad) == 1 else 'were'} {word}"
    return f"{len(bad)} of {asked} clients {verb}, {first}"
