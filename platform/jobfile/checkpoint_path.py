"""Whether `checkpoint.path` names a place that this machine could reach: no network is asked."""

import os
from importlib.util import find_spec

from covey.platform.jobfile.words import found

_EXTRAS = {"s3fs": "covey[s3]", "gcsfs": "covey[gs]"}


def path_problem(path: str) -> str | None:
    """Why not, in a few words; None when it may."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        absolute = "allowed are an absolute folder and a URL such as s3://bucket/prefix"
        return None if os.path.isabs(path) else f"found {found(path)}, {absolute}"
    from fsspec.registry import known_implementations

    if scheme not in known_implementations:
        return f"no store is called {found(scheme)}, as s3, gs and az are"
    if not rest.strip("/"):
        return f"found {found(path)}, which names no bucket"
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and ":" in user:
        return "holds a password, allowed are URLs without: it belongs in the store's own settings"
    package = str(known_implementations[scheme]["class"]).partition(".")[0]
    if find_spec(package) is None:
        install = _EXTRAS.get(package, package)
        return f"{scheme} needs the package {package}: pip install '{install}'"
    return None
