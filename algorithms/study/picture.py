"""The comparison of codes as a picture: a panel for each setting."""

from collections.abc import Sequence
from pathlib import Path

from covey.algorithms.study.coded import Cell

COLOURS = ("#374151", "#c2410c", "#0f766e", "#7c3aed", "#2563a8", "#b45309")


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Iteration time against stragglers: lines are the model with a core for each worker, dashed
    ones that with this machine's cores, dots with their spread what was measured.
    """
    from matplotlib.figure import Figure

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
            real = [cell for cell in own if cell.real_s is not None and cell.spread_s is not None]
            if real:
                middles = [cell.real_s or 0.0 for cell in real]
                lows = [(c.real_s or 0.0) - (c.spread_s or (0, 0))[0] for c in real]
                highs = [(c.spread_s or (0, 0))[1] - (c.real_s or 0.0) for c in real]
                here.errorbar(
                    [cell.stragglers for cell in real],
                    middles,
                    yerr=[lows, highs],
                    color=colour,
                    fmt="o",
                    capsize=2,
                )
        wide.set_title(f"{env}, {agents} agents, {delay_s:g} s late: a core for each worker")
        here.set_title("this machine: dots measured, dashes modelled")
        for panel in (wide, here):
            panel.set_xlabel("stragglers in each iteration")
            panel.set_ylabel("iteration (s)")
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.25)
        wide.legend(fontsize="small")
    figure.savefig(path, dpi=110)
