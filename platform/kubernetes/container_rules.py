"""What an API server demands of one container beyond its schema."""

import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from covey.platform.errors import Key
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.kubernetes import syntax
from covey.platform.kubernetes.faults import (
    Finding,
    Findings,
    mapping,
    number,
    repeated,
    rows,
    text,
)

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
PLAIN_RESOURCES = ("cpu", "memory", "ephemeral-storage")


def chosen(value: object, name: str, allowed: Sequence[str], key: Key) -> Findings:
    """`value[name]`, where it is set, is one of `allowed`; `key` is where `value` stands."""
    word = text(value, name)
    if word and word not in allowed:
        meant = nearest(word, allowed)
        hint = f", did you mean {meant}?" if meant else ""
        words = ", ".join(allowed)
        yield Finding((*key, name), f"found {found(word)}, allowed is one of {words}{hint}")


def one_of(value: Mapping[str, Any], what: str, key: Key, names: Collection[str]) -> Findings:
    """Exactly one of `names` is set in `value`, which stands at `key`."""
    held = [name for name in value if name in names and value[name] is not None]
    if len(held) > 1:
        yield Finding((*key, held[1]), f"allowed is one {what}, but {held[0]} is set too")
    elif not held:
        yield Finding(key, f"has no {what}, allowed is exactly one")


def container_findings(container: Mapping[str, Any], key: Key, initial: bool) -> Findings:
    """What is wrong with a container, which stands at `key`, by itself."""
    name = text(container, "name")
    if wrong := syntax.dns_label(name) if name else "is missing":
        yield Finding((*key, "name"), wrong)
    image = text(container, "image")
    if not image or image != image.strip():
        yield Finding(
            (*key, "image"), "is missing" if not image else "allowed are no spaces around it"
        )
    yield from chosen(container, "imagePullPolicy", ("Always", "IfNotPresent", "Never"), key)
    yield from chosen(container, "terminationMessagePolicy", ("File", "FallbackToLogsOnError"), key)
    yield from env_findings(container, key)
    yield from resource_findings(mapping(container, "resources"), (*key, "resources"))
    yield from _ports(container, key)
    yield from _security(mapping(container, "securityContext"), (*key, "securityContext"))
    if initial and container.get("restartPolicy") is None:
        for probe in (probe for probe in PROBES if container.get(probe) is not None):
            yield Finding((*key, probe), "an init container that ends has no probes")
    else:
        yield from _handlers(container, key)


def env_findings(container: Mapping[str, Any], key: Key) -> Findings:
    """Environment variables: names, and a value or a source."""
    variables = rows(container, "env", key)
    yield from repeated(((*path, "name"), text(each, "name")) for path, each in variables)
    for path, variable in variables:
        name = text(variable, "name")
        if wrong := syntax.env_name(name) if name else "is missing":
            yield Finding((*path, "name"), wrong)
        if variable.get("valueFrom") is not None:
            if text(variable, "value"):
                yield Finding((*path, "valueFrom"), "allowed is either value or valueFrom")
            source = mapping(variable, "valueFrom")
            yield from one_of(source, "source", (*path, "valueFrom"), set(source))
    for path, source in rows(container, "envFrom", key):
        yield from one_of(source, "source", path, ("configMapRef", "secretRef"))


def resource_findings(resources: Mapping[str, Any], key: Key) -> Findings:
    """Quantities are numbers, and no request is above its limit."""
    requests, limits = mapping(resources, "requests"), mapping(resources, "limits")
    wrong = set()
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            for finding in _amount(name, amount, (*key, part, name)):
                wrong.add(name)
                yield finding
    for name, amount in requests.items():
        asked, limit = syntax.quantity(amount), syntax.quantity(limits.get(name))
        if asked is None or limit is None or name in wrong:
            continue
        if asked > limit:
            message = f"asks for {amount}, but the limit is {limits[name]}"
            yield Finding((*key, "requests", name), message)
        elif asked < limit and (name.startswith("hugepages-") or "/" in name):
            message = f"must equal the limit {limits[name]}: {name} is not shared out"
            yield Finding((*key, "requests", name), message)
    for name in requests:
        if "/" in name and name not in limits and name not in wrong:
            yield Finding((*key, "limits", name), f"is missing: {name} needs a limit too")


def _amount(name: str, amount: object, key: Key) -> Findings:
    value = syntax.quantity(amount)
    if "/" not in name and name not in PLAIN_RESOURCES and not name.startswith("hugepages-"):
        hint = f", did you mean {meant}?" if (meant := nearest(name, PLAIN_RESOURCES)) else ""
        words = "cpu, memory, ephemeral-storage, hugepages-SIZE and names such as nvidia.com/gpu"
        yield Finding(key, f"is no resource, possible are {words}{hint}")
    elif wrong := syntax.qualified_name(name):
        yield Finding(key, wrong)
    elif value is None:
        yield Finding(key, f"found {found(amount)}, allowed is a quantity such as 500m, 2 or 4Gi")
    elif value < 0:
        yield Finding(key, f"found {found(amount)}, allowed is at least 0")
    elif "/" in name and value != int(value):
        yield Finding(key, f"found {found(amount)}, allowed is a whole number of {name}")


def _ports(container: Mapping[str, Any], key: Key) -> Findings:
    ports = rows(container, "ports", key)
    yield from repeated(
        (
            ((*path, "containerPort"), port_and_protocol(port, "containerPort"))
            for path, port in ports
        )
    )
    for path, port in ports:
        if (value := number(port, "containerPort")) is not None:
            yield from syntax.port_findings(value, (*path, "containerPort"))
        if value := number(port, "hostPort"):
            yield from syntax.port_findings(value, (*path, "hostPort"))
        if (name := text(port, "name")) and (wrong := syntax.port_name(name)):
            yield Finding((*path, "name"), wrong)
        yield from chosen(port, "protocol", ("TCP", "UDP", "SCTP"), path)


def port_and_protocol(port: Mapping[str, Any], name: str) -> str | None:
    """What makes a port, the number of which is called `name`, one of its own."""
    value = number(port, name)
    return f"{value}/{text(port, 'protocol') or 'TCP'}" if value is not None else None


def _security(security: Mapping[str, Any], key: Key) -> Findings:
    if security.get("allowPrivilegeEscalation") is False:
        if security.get("privileged") is True:
            yield Finding((*key, "privileged"), "true, but allowPrivilegeEscalation is false")
        added = mapping(security, "capabilities").get("add")
        if isinstance(added, list) and {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(map(str, added)):
            message = "holds SYS_ADMIN, but allowPrivilegeEscalation is false"
            yield Finding((*key, "capabilities", "add"), message)
    user = number(security, "runAsUser")
    if user is not None and not 0 <= user < 2**31:
        yield Finding((*key, "runAsUser"), f"found {user}, allowed is 0 to {2**31 - 1}")
    elif security.get("runAsNonRoot") is True and user == 0:
        yield Finding((*key, "runAsUser"), "0 is root, but runAsNonRoot is true")


def _handlers(container: Mapping[str, Any], key: Key) -> Findings:
    ports = {text(port, "name") for _, port in rows(container, "ports")}
    for name in PROBES:
        probe = mapping(container, name)
        if container.get(name) is not None:
            yield from one_of(probe, "handler", (*key, name), HANDLERS)
            yield from _probe_numbers(name, probe, (*key, name))
            yield from _target(probe, ports, (*key, name))
    for moment, hook in mapping(container, "lifecycle").items():
        if isinstance(hook, Mapping):
            path = (*key, "lifecycle", moment)
            yield from one_of(hook, "handler", path, ("exec", "httpGet", "tcpSocket", "sleep"))
            yield from _target(hook, ports, path)


def _probe_numbers(name: str, probe: Mapping[str, Any], key: Key) -> Findings:
    for field in PROBE_NUMBERS:
        if (value := number(probe, field) or 0) < 0:
            yield Finding((*key, field), f"found {value}, allowed is at least 0")
    if name != "readinessProbe" and (number(probe, "successThreshold") or 1) != 1:
        yield Finding((*key, "successThreshold"), f"allowed is 1 in a {name}")


def _target(handler: Mapping[str, Any], ports: Collection[str], key: Key) -> Findings:
    """The port that a handler calls, by number or by the name of one of the container's."""
    for kind in ("httpGet", "tcpSocket", "grpc"):
        port = mapping(handler, kind).get("port")
        path = (*key, kind, "port")
        yield from syntax.port_findings(port, path)
        if isinstance(port, str) and port not in ports:
            yield Finding(path, f"no port of this container is named {found(port)}")
    yield from chosen(mapping(handler, "httpGet"), "scheme", ("HTTP", "HTTPS"), (*key, "httpGet"))


def mount_findings(container: Mapping[str, Any], key: Key, volumes: Collection[str]) -> Findings:
    """Each mount names a volume of the pod and a place of its own."""
    mounts = rows(container, "volumeMounts", key)
    yield from repeated(((*path, "mountPath"), text(mount, "mountPath")) for path, mount in mounts)
    for path, mount in mounts:
        name, inside = text(mount, "name"), text(mount, "subPath")
        if name not in volumes:
            hint = f", did you mean {meant}?" if (meant := nearest(name, volumes)) else ""
            yield Finding((*path, "name"), f"no volume of this pod is named {found(name)}{hint}")
        if not text(mount, "mountPath"):
            yield Finding((*path, "mountPath"), "is missing")
        if inside and (posixpath.isabs(inside) or ".." in inside.split("/")):
            yield Finding((*path, "subPath"), "allowed is a path inside the volume, without '..'")
