"""The comparison of codes as a picture: a panel for each setting."""

from collections.abc import Sequence
from pathlib import Path

from covey.algorithms.study.coded import Cell
from covey.platform.errors import UserError

COLOURS = ("#374151", "#c2410c", "#0f766e", "#7c3aed", "#2563a8", "#b45309")


def check_picture(path: Path) -> None:
    """Raise UserError for where no picture can be written, before anything is measured."""
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise UserError(f"--out {path}: no kind of picture; {', '.join(sorted(kinds))} are")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Iteration time against stragglers: lines are the model with a core for each worker, dashed
    ones that with this machine's cores, dots with quartiles what was measured.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    settings = sorted({(cell.env, cell.agents, cell.delay_s) for cell in cells})
    codes = list(dict.fromkeys(cell.code for cell in cells))
    columns = 2  # the model alone, and beside what was measured
    figure = Figure(figsize=(11, 3.6 * len(settings) + 0.6), layout="constrained")
    panels = figure.subplots(len(settings), columns, squeeze=False)
    for (env, agents, delay_s), (wide, here) in zip(settings, panels, strict=True):
        for code, colour in zip(codes, COLOURS, strict=False):
            own = [
                cell
                for cell in cells
                if (cell.env, cell.agents, cell.delay_s, cell.code) == (env, agents, delay_s, code)
            ]
            counts = [cell.stragglers for cell in own]
            wide.plot(counts, [cell.wide_s for cell in own], color=colour, label=code, marker=".")
            here.plot(counts, [cell.here_s for cell in own], color=colour, linestyle="--")
            for cell in own:
                if cell.real_s is not None and cell.quartiles_s is not None:
                    here.plot(cell.stragglers, cell.real_s, color=colour, marker="o")
                    here.vlines(cell.stragglers, *cell.quartiles_s, color=colour)
        wide.set_title(f"{env}, {agents} agents, {delay_s:g} s late: a core for each worker")
        here.set_title("this machine: dots measured, dashes modelled")
        for panel in (wide, here):
            panel.set_xlabel("stragglers in each iteration")
            panel.set_ylabel("iteration (s)")
            panel.set_ylim(bottom=0)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.grid(alpha=0.25)
        wide.legend(fontsize="small")
    figure.savefig(path, dpi=110)
