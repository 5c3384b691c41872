"""FedJAX's federated averaging, each client's steps compiled by JAX.

Its minibatches are always full: a client that has come to the end of a pass fills up with the next.

Settings: see `task.py`.
"""

from collections.abc import Callable
from typing import Any

import fedjax
import haiku as hk
import jax
import jax.numpy as jnp
from round_clock import Record, RoundClock, Settings, report
from task import Task, load

LAYERS = {"logistic": ("output",), "mlp": ("hidden", "output")}


def forward(layers: tuple[str, ...]) -> Callable[[dict[str, Any]], Any]:
    """The model as a Haiku function: rectified units between the layers."""

    def apply(batch: dict[str, Any]) -> Any:
        values = batch["x"]
        for name in layers[:-1]:
            values = jax.nn.relu(hk.Linear(128, name=name)(values))
        return hk.Linear(10, name=layers[-1])(values)

    return apply


def make_model(layers: tuple[str, ...], task: Task) -> fedjax.Model:
    return fedjax.create_model_from_haiku(
        hk.transform(forward(layers)),
        {"x": task.images[:1], "y": task.labels[:1]},
        lambda batch, logits: fedjax.metrics.unreduced_cross_entropy_loss(batch["y"], logits),
    )


def first_parameters(layers: tuple[str, ...], task: Task) -> Any:
    """The first global model's, as Haiku names and turns them."""
    return {
        name: {
            "w": jnp.asarray(task.weights[f"{name}.weight"].T),
            "b": jnp.asarray(task.weights[f"{name}.bias"]),
        }
        for name in layers
    }


def make_algorithm(model: fedjax.Model, task: Task) -> fedjax.FederatedAlgorithm:
    return fedjax.algorithms.fed_avg.federated_averaging(
        fedjax.model_grad(model),
        fedjax.optimizers.sgd(task.learning_rate),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(
            batch_size=task.batch_size,
            num_epochs=task.epochs or None,
            num_steps=task.steps or None,
        ),
    )


def train(settings: Settings) -> Record:
    task, layers = load(settings), LAYERS[settings["model"]]
    model = make_model(layers, task)
    clients = fedjax.InMemoryFederatedData(
        {
            client: {"x": task.images[share], "y": task.labels[share]}
            for client, share in enumerate(task.shares)
        }
    )
    algorithm = make_algorithm(model, task)
    state = algorithm.init(first_parameters(layers, task))
    keys = jax.random.split(jax.random.PRNGKey(settings["seed"]), len(task.cohorts))
    last = len(task.cohorts) - 1
    clock = RoundClock()
    for number, (cohort, key) in enumerate(zip(task.cohorts.tolist(), keys, strict=True)):
        drawn = jax.random.split(key, len(cohort))
        asked = [
            (client, data, drawn[place])
            for place, (client, data) in enumerate(clients.get_clients(cohort))
        ]
        state, _ = algorithm.apply(state, asked)
        if number in (0, last):
            jax.block_until_ready(state.params)
        clock.round_done()
    logits = model.apply_for_eval(state.params, {"x": jnp.asarray(task.test_images)})
    return clock.record(float((logits.argmax(1) == jnp.asarray(task.test_labels)).mean()))


if __name__ == "__main__":
    report(train)
