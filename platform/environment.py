"""The only module that reads or sets environment variables."""

import os
import secrets
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def covey_home() -> Path:
    """Where the store, runs and data live: `COVEY_HOME`, else `~/.covey`. Not created here."""
    return Path(os.environ.get("COVEY_HOME") or Path.home() / ".covey").expanduser().absolute()


def set_covey_home(home: Path) -> None:
    """Use that folder in this process and all it starts."""
    os.environ["COVEY_HOME"] = str(home)


def data_folder() -> Path:
    """Where `covey data get` puts data sets and workloads look for them."""
    return covey_home() / "data"


def kuberay_crds() -> Path | None:
    """The folder of KubeRay's definitions, if `COVEY_KUBERAY_CRDS` names one."""
    folder = os.environ.get("COVEY_KUBERAY_CRDS")
    return Path(folder).expanduser().absolute() if folder else None


def prepare_libraries(own_ray: bool = False) -> None:
    """Settings that must stand before Ray, Flower or an environment is imported.

    Ray answers only to our token (its ports listen on every interface), nobody phones home, and no
    environment opens a window or a sound card. With `own_ray`, for a process that starts Ray, the
    token is demanded whatever the user's environment says; whoever joins a cluster may have to do
    as that one does.
    """
    if theirs := os.environ.get("RAY_AUTH_TOKEN_PATH"):  # what we start has a folder of its own
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(Path(theirs).expanduser().absolute())
    elif not os.environ.get("RAY_AUTH_TOKEN"):
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(ray_token_file())
    if own_ray:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves a job beside anything
        # A busy machine needs more than Ray's 30 s for a node and for its agents, and 60 s for the
        # dashboard.
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "150")
        os.environ.setdefault("RAY_agent_register_timeout_ms", "150000")
        os.environ.setdefault("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "150")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns at every start
    # Its 30 s for each part of the dashboard are as short, and a head without one ends.
    os.environ.setdefault("RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT", "120")
    # Or the last bits of a product depend on where in memory its numbers happen to lie.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # or games complain that there is no card
    os.environ.setdefault("MUJOCO_GL", "disable")


def silence_grpc() -> None:
    """Call before gRPC is imported in a process that listens to strangers.

    It writes a line to standard error for each that it turns away, with their own bytes in it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def threads_give_way() -> None:
    """For processes that share cores: torch's threads soon give way while they wait for each other.

    Without it a learner on all cores is ten times slower beside one other busy process; by itself
    it loses a twentieth. Must stand before torch is imported.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def gloo_on_loopback() -> None:
    """torch.distributed listens on loopback alone. Must stand before a process group is made."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"


@contextmanager
def drawing_off_screen() -> Iterator[None]:
    """Begin inside this what MuJoCo is to draw into memory (`prepare_libraries` lets it not draw).

    MuJoCo must be imported before: with this setting its import fails where there is no EGL.
    """
    before = os.environ.get("MUJOCO_GL")
    if before in (None, "disable"):
        os.environ["MUJOCO_GL"] = "egl"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before


def flower_environment(
    home: Path, cache: Path, commands: Path | None = None, threads: int | None = None
) -> dict[str, str]:
    """For Flower's own processes: they write into `home`, install nothing, phone nobody, find each
    other's commands (those in the folder `commands` before Flower's), and compute on so many
    threads.
    """
    scripts = filter(None, (commands, sysconfig.get_path("scripts"), os.environ.get("PATH")))
    settings = {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
        "PATH": os.pathsep.join(map(str, scripts)),
    }
    if threads is not None:
        settings["OMP_NUM_THREADS"] = str(threads)
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        # Without bytecode each process takes three times as long to start.
        settings |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache)}
    return {**os.environ, **settings}


def reach_loopback_without_proxy() -> None:
    """For this process and all it starts: a proxy for the rest of the world does not reach them."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join([*hosts, *({"127.0.0.1", "localhost"} - set(hosts))])


def ray_token_file() -> Path:
    """The file with our Ray token, made on first use and readable by its owner alone."""
    path = covey_home() / "ray" / "token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_hex(32))
        try:
            os.link(
                beside, path
            )  # fails, and leaves the winner's token, if another process was first
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    return path
