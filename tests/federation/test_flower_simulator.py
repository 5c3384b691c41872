"""FedAvg by our loop is FedAvg by Flower's own simulator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

FLOWER = """
import json
import numpy as np
from covey.platform.environment import prepare_libraries
prepare_libraries()
from flwr.app import Array, ArrayRecord, Context
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

server = ServerApp()

@server.main()
def main(grid, context):
    start = ArrayRecord({"w": Array(np.zeros((3, 4))), "b": Array(np.zeros(5, np.float32))})
    # Flower counts the nodes before it waits for them: what to take of them is said as a number.
    average = FedAvg(fraction_evaluate=0.0, min_train_nodes=5, min_available_nodes=5)
    result = average.start(grid, start, num_rounds=10)
    print(json.dumps({name: array.numpy().tolist() for name, array in result.arrays.items()}))

class Told(ClientApp):
    def __call__(self, message, context):
        from selfseeded_app.client_app import app
        return app(message, Context(
            context.run_id, context.node_id, context.node_config, context.state,
            {"fail": -1, "meet": ""}))

run_simulation(server, Told(), 5, backend_config={
    "client_resources": {"num_cpus": 1}, "init_args": {"address": "local", "num_cpus": 2}})
"""


@pytest.mark.ray
def test_ten_rounds_with_everybody(train, tmp_path: Path) -> None:
    app = Path(__file__).parent / "apps" / "selfseeded"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(app), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", FLOWER],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    ours = train("selfseeded", clients=5, rounds=10, federated={"run_config": {"fraction": 1.0}})
    model = load_file(ours.path / "checkpoints" / "latest" / "model.safetensors")
    assert model.keys() == theirs.keys()
    for name, array in model.items():
        assert np.abs(array).max() > 0.1
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-5)
