"""In the place of KubeRay's operator and all below it: runs each RayJob's entrypoint here.

The entrypoint is a process of this machine with the environment of the head's container, and what
it prints is the log of a pod; the claim's path must exist here. The status goes the way of the
operator's. A RayJob that is deleted gets SIGTERM, its pods' grace period, SIGKILL, and is gone.

What it does not prove: no Ray cluster, submitter, image, volume or pod is made, nothing waits for
room or images, and nobody but these lines says that the operator behaves so. Kueue's part, letting
go and suspending, is played by tests.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kube_objects import Object, Refusal
from kube_server import ApiServer

OF_A_POD = {"HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"}
FINALIZER = "ray.io/rayjob-finalizer"


@dataclass
class Running:
    """An entrypoint."""

    process: subprocess.Popen[bytes]
    log: Path
    grace_s: float
    asked_s: float | None = None


class Operator:
    """Looks after the RayJobs of one namespace from a thread of its own."""

    def __init__(self, api: ApiServer, namespace: str, folder: Path, python_path: str) -> None:
        self._api = api
        self._objects = api.objects
        self._namespace = namespace
        self._folder = folder
        self._python_path = python_path
        self._over = threading.Event()
        self.running: dict[str, Running] = {}
        #: how often each RayJob's entrypoint was started
        self.started: dict[str, int] = {}
        #: whether RayJobs are left alone, as while the operator is down
        self.asleep = False
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Everything that it has started ends."""
        self._over.set()
        self._thread.join()
        for running in self.running.values():
            self._signal(running, signal.SIGKILL)
            running.process.wait()

    def kill(self, name: str) -> None:
        """`kill -9` of a RayJob's entrypoint."""
        self._signal(self.running[name], signal.SIGKILL)

    def _look_after(self) -> None:
        while not self._over.is_set():
            for ray_job in self._objects.list("rayjobs", self._namespace)[0]:
                try:
                    self._step(ray_job)
                except Refusal as refusal:  # somebody changed it meanwhile
                    assert refusal.status["code"] in (404, 409), refusal
            self._over.wait(0.03)

    def _step(self, ray_job: Object) -> None:
        metadata = ray_job["metadata"]
        running = self.running.get(metadata["name"])
        if "deletionTimestamp" in metadata:
            if FINALIZER in metadata.get("finalizers", ()) and self._has_ended(running):
                self._patch(ray_job, {"metadata": {"finalizers": []}})
        elif not self.asleep:
            self._move_on(ray_job, running)

    def _move_on(self, ray_job: Object, running: Running | None) -> None:
        """From one `jobDeploymentStatus` to the next."""
        held = ray_job["spec"].get("suspend", False)
        match ray_job.get("status", {}).get("jobDeploymentStatus"):
            case None:
                self._patch(ray_job, {"metadata": {"finalizers": [FINALIZER]}})
                self._set(ray_job, jobDeploymentStatus="Initializing")
            case "Initializing" if held:
                self._set(ray_job, jobDeploymentStatus="Suspended")
            case "Initializing":
                self._start(ray_job)
                self._set(ray_job, jobDeploymentStatus="Running", jobStatus="RUNNING")
            case "Suspended" if not held:
                self._set(ray_job, jobDeploymentStatus="Initializing")
            case "Running" if held:
                self._signal(running, signal.SIGKILL)
                self._set(ray_job, jobDeploymentStatus="Suspended", jobStatus="")
            case "Running" if running.process.poll() is not None:
                self._set_end(ray_job, running.process.returncode, running.log)

    def _start(self, ray_job: Object) -> None:
        name, spec = ray_job["metadata"]["name"], ray_job["spec"]
        self.started[name] = self.started.get(name, 0) + 1
        pod = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        (head,) = pod["containers"]
        # A pod's scratch folders are its own; here they would be everybody's.
        variables = {
            each["name"]: each["value"] for each in head["env"] if each["name"] not in OF_A_POD
        }
        variables |= yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
        places = [each["mountPath"] for each in head["volumeMounts"] if each["name"] == "home"]
        assert places == [variables["COVEY_HOME"]], "the claim is not where the job looks for it"
        log = self._folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", spec["entrypoint"]],
                cwd=self._folder,
                env={**os.environ, **variables, **self._own_variables()},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        grace_s = float(pod.get("terminationGracePeriodSeconds", 30))
        self.running[name] = Running(process, log, grace_s)
        self._api.logs[f"{name}-abcde"] = log
        labels = {"job-name": name}
        pod_now = {"kind": "Pod", "metadata": {"name": f"{name}-abcde", "labels": labels}}
        try:
            self._objects.create("pods", self._namespace, pod_now)
        except Refusal:
            pass  # one that was suspended is back

    def _own_variables(self) -> dict[str, str]:
        """What the image has: our Python on the path, and Covey in it."""
        here = Path(sys.executable).parent
        return {
            "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": self._python_path,
        }

    def _has_ended(self, running: Running | None) -> bool:
        """After SIGTERM, and SIGKILL once the grace period is over."""
        if running is None or running.process.poll() is not None:
            return True
        if running.asked_s is None:
            running.asked_s = time.monotonic()
            self._signal(running, signal.SIGTERM)
        elif time.monotonic() > running.asked_s + running.grace_s:
            self._signal(running, signal.SIGKILL)
        return False

    def _signal(self, running: Running, number: int) -> None:
        try:
            os.killpg(running.process.pid, number)
        except ProcessLookupError:
            pass

    def _set_end(self, ray_job: Object, exit_status: int, log: Path) -> None:
        if exit_status == 0:
            self._set(ray_job, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
            return
        last = log.read_text(errors="replace")[-20_000:]
        message = (
            f"Job entrypoint command failed with exit code {exit_status}, last available logs "
            f"(truncated to 20,000 chars):\n{last}"
        )
        self._set(
            ray_job,
            jobDeploymentStatus="Failed",
            jobStatus="FAILED",
            reason="AppFailed",
            message=message,
        )

    def _set(self, ray_job: Object, **status: Any) -> None:
        self._patch(ray_job, {"status": status}, "status")

    def _patch(self, ray_job: Object, patch: Object, part: str = "") -> None:
        name = ray_job["metadata"]["name"]
        self._objects.patch("rayjobs", self._namespace, name, patch, part)
