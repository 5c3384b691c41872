"""A ServerApp that talks to the Grid itself."""

from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server, client = ServerApp(), ClientApp()


@client.query("square")
def square(msg: Message, context: Context) -> Message:
    number = msg.content["config"]["number"]
    return Message(RecordDict({"answer": MetricRecord({"square": number**2})}), reply_to=msg)


@server.main()
def main(grid: Grid, context: Context) -> None:
    total = 0
    for number in range(3):
        records = RecordDict({"config": ConfigRecord({"number": number})})
        ids = grid.push_messages(
            [Message(records, node, "query.square") for node in grid.get_node_ids()]
        )
        total += sum(reply.content["answer"]["square"] for reply in grid.pull_messages(ids))
    Path("total.txt").write_text(str(total))
