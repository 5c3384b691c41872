"""Who runs a job's clients: `federated.engine`."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

from flwr.clientapp import ClientApp

from covey.federation.app_folder import ConfigValue, imported, local_training, read_app_folder
from covey.federation.cohort_grid import CohortGrid, CohortProgram
from covey.federation.flower_internals import has_mods
from covey.federation.grids import ActorGrid, InlineGrid
from covey.federation.section import BUILT_IN_APPS, FederatedSection
from covey.federation.simulated_grid import SimulatedGrid
from covey.platform.runs.run import Run
from covey.platform.sent_folders import show_code


def make_grid(
    run: Run,
    client_app: ClientApp,
    config: dict[str, ConfigValue],
    before_batch: Callable[[], None],
    stack: ExitStack,
    resumed: bool,
) -> SimulatedGrid:
    """The Grid of the job's engine; what it starts ends with the stack. StartInterrupted if the run
    is stopped while Ray starts.
    """
    job = run.job
    section: FederatedSection = job.section
    common: dict[str, Any] = {
        "num_clients": section.clients,
        "clock": None if job.deterministic else time.time,
        "before_batch": before_batch,
    }
    if section.engine == "superlink":
        from covey.federation.superlink_engine import superlink_grid

        return stack.enter_context(superlink_grid(run, config, resumed, **common))
    common |= {"seed": job.seed, "run_config": config}
    if section.engine == "inline":
        return InlineGrid(client_app, **common)
    if section.engine == "cohort":
        reason = why_not_batched(section, client_app)
        if reason is None:
            return CohortGrid(client_app, _program(run, config), **common)
        run.event("engine", f"clients run in actors: {reason}")
    from covey.platform.runtime.direct_crew import DirectCrew
    from covey.platform.runtime.even_crew import EvenCrew

    actors = number_of_actors(run)
    grid = ActorGrid(
        actors=actors,
        crew=DirectCrew(EvenCrew(job.resources, actors, run.ray_address)),
        open_app=partial(open_client_app, section.app, job.code, str(run.path)),
        threads=threads_of_a_client(run, "actors"),
        note=run.event,
        **common,
    )
    stack.callback(grid.close)
    return grid


def _program(run: Run, config: dict[str, ConfigValue]) -> CohortProgram:
    section: FederatedSection = run.job.section
    if section.app in BUILT_IN_APPS:
        from covey.federation.apps.cohort_program import BuiltInProgram
        from covey.federation.apps.settings import Settings

        return BuiltInProgram(Settings(**cast(Any, config)), section.clients, run.job.seed)
    from covey.federation.local_program import LocalProgram

    folder = read_app_folder(Path(section.app))
    training, name = local_training(folder), str(folder.cohort)
    return LocalProgram(training, name, section.clients, run.job.seed, config)


def why_not_batched(section: FederatedSection, client_app: ClientApp | None = None) -> str | None:
    """What stands in the way of the cohort engine: then clients run in actors. None if nothing
    does. Mods, which see one message at a time, show in the ClientApp only.
    """
    if section.app in BUILT_IN_APPS:
        return None
    if read_app_folder(Path(section.app)).cohort is None:
        return f"{section.app} names no local training (cohort in [tool.covey] of pyproject.toml)"
    if client_app is not None and has_mods(client_app):
        return f"the ClientApp of {section.app} has mods"
    return None


def engine_of(section: FederatedSection) -> str:
    """The engine that a job gets, as far as its job file and its app's pyproject.toml tell."""
    if section.engine == "cohort" and why_not_batched(section):
        return "actors"
    return section.engine


def number_of_actors(run: Run) -> int:
    """As the job says, by default one for each of its CPUs."""
    section: FederatedSection = run.job.section
    return section.actors or max(1, int(run.job.resources.cpus))


def threads_of_a_client(run: Run, engine: str) -> int:
    """Of torch. A cohort's batched products are worth all CPUs; one built-in model is too small to
    gain from a second one, and in deterministic mode the last bits must not depend on the engine;
    else the clients at work share the CPUs.
    """
    if engine == "cohort":
        return max(1, int(run.job.resources.cpus))
    if run.job.section.app in BUILT_IN_APPS or run.job.deterministic:
        return 1
    at_work = number_of_actors(run) if engine == "actors" else 1
    return max(1, int(run.job.resources.cpus) // at_work)


def open_client_app(app: str, code: str | None, run_dir: str) -> ClientApp:
    """A job's ClientApp in a process that runs nothing else: import paths and the working folder
    are changed for good.
    """
    if app in BUILT_IN_APPS:
        from covey.federation.apps.client_app import app as built_in

        return built_in
    if code is not None:
        show_code(code)
    enter_working_folder(Path(run_dir))
    folder = read_app_folder(Path(app))
    _, client_app = imported(folder).__enter__()
    return client_app


def enter_working_folder(run_dir: Path) -> None:
    """Apps write files such as `final_model.pt` where they stand: that is inside the run folder."""
    folder = run_dir / "app"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
