"""`covey bench`: the command line of the comparisons."""

import signal
import sys
from typing import Annotated

import typer

from covey.platform.cli.output import Json

app = typer.Typer(
    help="Measure Covey and its peers in turn, beside what the machine allows.",
    no_args_is_help=True,
)


@app.callback()
def _before() -> None:
    from covey.platform.environment import prepare_libraries

    prepare_libraries()  # the measured processes inherit it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and are ended on the way out


Against = Annotated[
    str, typer.Option(help="The peers, with commas between them: rllib, sb3, or none.")
]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="ID", help="This environment; repeatable.")
]
Rounds = Annotated[int, typer.Option(min=1, help="How often each is measured.")]
Seconds = Annotated[float, typer.Option(min=0.01, help="How long each measurement takes.")]


@app.command()
def sampling(
    env: Env = None,
    against: Against = "rllib,sb3",
    rounds: Rounds = 3,
    seconds: Seconds = 3.0,
    as_json: Json = False,
) -> None:
    """Environment steps/s with the policy in the loop; automatic resets are no steps."""
    from covey.algorithms.bench.peer import chosen_peers
    from covey.algorithms.bench.sampling import ENVIRONMENTS, chosen_environments, compare
    from covey.algorithms.bench.table import print_report

    chosen = chosen_environments(env, ENVIRONMENTS)
    print_report(compare(chosen, chosen_peers(against), rounds, seconds), as_json)


@app.command()
def update(
    env: Env = None,
    against: Against = "rllib,sb3",
    rounds: Rounds = 3,
    seconds: Seconds = 3.0,
    as_json: Json = False,
) -> None:
    """SAC updates/s and replay batches/s, nets 2x256, a full buffer, 2 threads."""
    from covey.algorithms.bench.peer import chosen_peers
    from covey.algorithms.bench.sampling import chosen_environments
    from covey.algorithms.bench.table import print_report
    from covey.algorithms.bench.update import SHAPES, compare

    chosen = chosen_environments(env or ["HalfCheetah-v5"], SHAPES)
    print_report(compare(chosen, chosen_peers(against), rounds, seconds), as_json)


@app.command()
def threshold(
    env: Env = None,
    against: Against = "rllib,sb3",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, from seed 0 on.")] = 5,
    limit_s: Annotated[float, typer.Option(min=1, help="A longer run is ended: not solved.")] = 600,
    as_json: Json = False,
) -> None:
    """Seconds until the mean return of the last 100 training episodes reaches the threshold."""
    from covey.algorithms.bench.peer import chosen_peers
    from covey.algorithms.bench.sampling import chosen_environments
    from covey.algorithms.bench.table import print_report
    from covey.algorithms.bench.threshold import TASKS, compare

    chosen = chosen_environments(env, TASKS)
    print_report(compare(chosen, chosen_peers(against), seeds, limit_s), as_json)
