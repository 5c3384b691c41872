"""`engine: superlink`: a SuperLink and its SuperNodes for the time of one attempt.

The job takes the place of the ServerApp's process (superlink_internals), so the round loop, the run
folder, stop and resume are those of the other engines. All files are in `superlink/` of the run
folder; the next attempt makes them anew.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from covey.federation.app_folder import ConfigValue
from covey.federation.certificates import Certificates, make_certificates
from covey.federation.packed_app import pack, write_built_in
from covey.federation.section import BUILT_IN_APPS, FederatedSection
from covey.federation.superexec import libraries_of
from covey.federation.superlink import CACHE, SuperLink, wait_for
from covey.federation.superlink_grid import SuperLinkGrid
from covey.federation.superlink_internals import Control, Place, ServerTask, why
from covey.federation.superlink_section import SuperLinkSection
from covey.federation.supernodes import StartedSuperNodes, SuperNodes, SuperNodesElsewhere
from covey.platform.environment import reach_loopback_without_proxy
from covey.platform.errors import UserError
from covey.platform.runs.run import Run
from covey.platform.sent_folders import here


@contextmanager
def superlink_grid(
    run: Run, config: Mapping[str, ConfigValue], resumed: bool, **grid_options: Any
) -> Iterator[SuperLinkGrid]:
    """A Grid whose clients are on SuperNodes that are ready. `grid_options` are SimulatedGrid's."""
    section: FederatedSection = run.job.section
    superlink = section.superlink
    assert superlink
    folder = _new_folder(run)
    built_in = section.app in BUILT_IN_APPS
    app = write_built_in(section.app, config, folder) if built_in else here(Path(section.app))
    fab = pack(app)
    reach_loopback_without_proxy()
    with ExitStack() as stack:
        if superlink.address is None:
            secret = secrets.token_bytes(32)
            place, nodes = _start(run, superlink, folder, secret, libraries_of(app), stack)
        else:
            file = superlink.superexec_secret
            secret = Path(file).read_bytes() if file else b""
            root = superlink.root_certificates
            place = Place(superlink.address, Path(root) if root else None)
            wait_for(place, superlink.wait_s)
            nodes = SuperNodesElsewhere(section.clients)
        task = stack.enter_context(_task(place, secret, fab, config))
        grid = SuperLinkGrid(task, nodes, run_config=config, **grid_options)
        if not grid.wait(superlink.wait_s):
            raise UserError(
                f"after {superlink.wait_s:g} s (federated.superlink.wait_s) the SuperLink at "
                f"{place.address} has not {section.clients} SuperNodes (federated.clients) but "
                f"{len(task.nodes())}"
            )
        run.event(
            "superlink", f"{section.clients} SuperNodes at {place.address}, run {task.run.run_id}"
        )
        if resumed:
            run.event(
                "clients-forgot",
                "what clients kept in their contexts was in their SuperNodes: lost",
            )
        yield grid


def _new_folder(run: Run) -> Path:
    """For this attempt, without the keys of an earlier one that was killed."""
    folder = run.path / "superlink"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def _start(
    run: Run,
    section: SuperLinkSection,
    folder: Path,
    secret: bytes,
    libraries: list[str],
    stack: ExitStack,
) -> tuple[Place, SuperNodes]:
    """A SuperLink and SuperNodes of the job's own; the latter come online later."""
    clients: int = run.job.section.clients
    stack.callback(_clear, folder)
    certificates = _named(section) or make_certificates(folder)
    superlink = SuperLink(folder, certificates, section.port, secret)
    stack.callback(superlink.end)
    superlink.wait(section.wait_s)
    threads = max(1, int(run.job.resources.cpus) // clients)
    nodes = StartedSuperNodes(
        folder, clients, superlink, certificates, threads, libraries, run.event
    )
    stack.callback(nodes.end)
    nodes.start()
    return superlink.place, nodes


def _named(section: SuperLinkSection) -> Certificates | None:
    """The certificates that the job file names, all three or none."""
    root, certificate, key = section.root_certificates, section.certificate, section.key
    if root and certificate and key:
        return Certificates(Path(root), Path(certificate), Path(key))
    return None


@contextmanager
def _task(
    place: Place, secret: bytes, fab: bytes, config: Mapping[str, ConfigValue]
) -> Iterator[ServerTask]:
    """A run of the app whose ServerApp is this process."""
    control = Control(place)
    try:
        run_id = control.start_run(fab, config)
        task = ServerTask.acquire(place, secret or None)
        if task is None or task.run.run_id != run_id:
            control.stop_run(run_id)
            if task is not None:
                task.finish("given to a job that had not asked for it")
            raise UserError(
                f"the ServerApp of run {run_id} was given to somebody else: start the SuperLink at "
                f"{place.address} with --isolation process, without a SuperExec, for this job alone"
            )
    except httpx.HTTPError as error:
        raise UserError(f"no run can be had of {place.address}: {why(error)}") from error
    finally:
        control.close()
    problem: str | None = "the job ended before its time"
    try:
        yield task
        problem = None
    finally:
        task.finish(problem)


def _clear(folder: Path) -> None:
    """Nobody needs them any more."""
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    for file in (*folder.rglob("*.key"), *folder.rglob("*.secret")):
        file.unlink()
