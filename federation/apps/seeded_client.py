"""The clients of the built-in apps on SuperNodes, where no Grid of ours seeds them."""

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from covey.federation.apps import client_app
from covey.federation.apps.settings import settings_of
from covey.federation.generators import seed_all


class SeededClientApp(ClientApp):
    """The built-in app, with the generators that `ClientRunner` would give it."""

    def __call__(self, message: Message, context: Context) -> Message:
        """The client's reply."""
        seed = settings_of(context).partition_seed
        client = int(context.node_config["partition-id"])
        seed_all(seed, f"client {message.metadata.message_type}", _round(message.content), client)
        return client_app.app(message, context)


def _round(content: RecordDict) -> int:
    """The round that Flower's strategies write into their messages."""
    for record in content.config_records.values():
        number = record.get("server-round")
        if isinstance(number, int):
            return number
    raise ValueError("the message does not say which round it belongs to (server-round)")


app = SeededClientApp()
