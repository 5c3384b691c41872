"""The app as SuperNodes get it: Flower's bundle (FAB) of an app folder.

A built-in app becomes a folder, too: a `pyproject.toml` and two lines that import it from Covey,
which must be installed where the SuperNodes run.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from covey.federation.app_folder import ConfigValue
from covey.federation.superlink_internals import fab_of
from covey.platform.errors import UserError

PYPROJECT = """\
[project]
name = "covey-{name}"
version = "1.0.0"

[tool.flwr.app]
publisher = "covey"

[tool.flwr.app.components]
serverapp = "covey_{name}.server:app"
clientapp = "covey_{name}.client:app"

[tool.flwr.app.config]
{config}
"""
IMPORT = "from covey.federation.apps import {module}\n\napp = {module}.app\n"


def pack(app: Path) -> bytes:
    """The app in the folder as one bundle; UserError when Flower cannot make one of it."""
    try:
        return fab_of(app)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"federated.app: {app} cannot be packed for SuperNodes: {reason}") from None


def write_built_in(name: str, config: Mapping[str, ConfigValue], folder: Path) -> Path:
    """Make the folder of a built-in app; returns it."""
    app = folder / f"covey-{name}"
    package = app / f"covey_{name}"
    package.mkdir(parents=True)
    # The values of a run config are written the same way in TOML and in JSON.
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items())
    (app / "pyproject.toml").write_text(PYPROJECT.format(name=name, config=lines))
    (package / "__init__.py").write_text("")
    (package / "server.py").write_text(IMPORT.format(module="server_app"))
    (package / "client.py").write_text(IMPORT.format(module="seeded_client"))
    return app
