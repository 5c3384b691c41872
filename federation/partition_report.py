"""What a run folder says about who got what: `partition.json`, `partition.png` and an event."""

import json

from covey.federation.partition_picture import draw
from covey.federation.partition_table import PartitionTable
from covey.platform.runs.durable import write_whole
from covey.platform.runs.run import Run

FILE = "partition.json"
PICTURE = "partition.png"


def report_partition(run: Run, table: PartitionTable) -> None:
    """Say how the data is dealt out, before a round is trained. An attempt that goes on finds all
    of it there.
    """
    if (run.path / FILE).exists() and (run.path / PICTURE).exists():
        return
    run.event("partition", table.summary())
    try:
        content = json.dumps(table.document()).encode()
        write_whole(run.path / FILE, content + b"\n", lasting=False)
    except OSError as error:  # a training that has room for its checkpoints need not end here
        run.event("no-partition", f"{FILE} cannot be written: {error.strerror or error}")
    run.picture(PICTURE, draw(table))
