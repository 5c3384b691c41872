"""The way to an API server: what is said where there is none, and from a pod."""

import math
import socket
import sys

import pytest
from kube_place import NAMESPACE, write_kubeconfig
from kubernetes import client

from covey.platform.errors import UserError
from covey.platform.jobs import kube_api
from covey.platform.jobs.kube_access import configured
from covey.platform.jobs.launcher import Unreachable


def test_where_nobody_can_be_reached_is_said_in_one_line(attempts, place, tmp_path):
    with pytest.raises(UserError, match="there is no namespace nowhere: kubectl create"):
        attempts.another("kubernetes://nowhere")
    with pytest.raises(UserError, match="kubeconfig"):
        attempts.another("kubernetes://lab?context=unknown")
    write_kubeconfig(tmp_path / "kubeconfig", place.api.url, "wrong")
    with pytest.raises(UserError, match="refuses our token"):
        attempts.another()
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9", "wrong")
    with pytest.raises(UserError, match=r"namespace lab: Kubernetes' API server: .*refused"):
        attempts.another()


def test_a_server_that_says_nothing_is_waited_for_once(place, tmp_path, monkeypatch):
    monkeypatch.setattr(kube_api, "_LIMITS_S", (0.2, 0.2))
    monkeypatch.setattr(kube_api, "_PAUSE_S", 300.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        write_kubeconfig(tmp_path / "kubeconfig", url, "a-token")
        api = kube_api.KubeApi(NAMESPACE)
        for _ in range(20):
            with pytest.raises(Unreachable):
                api.get("toy-abcde-1")
        mute.settimeout(0)
        mute.accept()[0].close()
        with pytest.raises(BlockingIOError):
            mute.accept()


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(UserError, match="pip install kubernetes"):
        kube_api.KubeApi(NAMESPACE)


def test_in_a_pod_the_service_account_is_the_way(place, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("of-a-pod")
    (tmp_path / "ca.crt").write_text("a certificate")
    where = "kubernetes.config.incluster_config.SERVICE_"
    monkeypatch.setattr(where + "TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(where + "CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    made, in_cluster = configured(client, None)
    assert in_cluster and made.host == "https://10.0.0.1:443"
    assert made.get_api_key_with_prefix("BearerToken") == "bearer of-a-pod"
    made, in_cluster = configured(client, "here")
    assert not in_cluster and made.host == place.api.url


def test_another_namespace_of_that_name_is_another_cluster(attempts, place):
    small = attempts.another("kubernetes://lab?cpus=4").cluster()
    assert small.total.cpus == 4 and small.fixed
    before = attempts.launcher.cluster()
    assert before.total.cpus == math.inf
    assert attempts.launcher.serves(before.cluster_id)
    place.api.namespaces[NAMESPACE] = "made anew"
    after = attempts.launcher.cluster()
    assert attempts.launcher.is_gone(before.cluster_id)
    assert not attempts.launcher.is_gone(after.cluster_id)
    del place.api.namespaces[NAMESPACE]
    with pytest.raises(Unreachable, match="no namespace lab any more"):
        attempts.launcher.cluster()
