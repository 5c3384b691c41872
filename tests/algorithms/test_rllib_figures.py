"""RLlib's results as plain metrics, and episodes put together from their pieces."""

from dataclasses import dataclass, field
from types import SimpleNamespace

from covey.algorithms.progress import Progress
from covey.algorithms.rllib_build import ENV_STEPS, EPISODES, note_episodes
from covey.algorithms.rllib_figures import read_result
from covey.algorithms.rllib_training import count

RESULT = {
    "env_runners": {EPISODES: [(9.0, 9), (12.0, 12)], ENV_STEPS: 40, "episode_return_mean": 3.0},
    "learners": {
        "__all_modules__": {"num_env_steps_trained": 900},
        "default_policy": {
            "total_loss": 1.5,
            "entropy": 0.6,
            "vf_loss": 0.25,
            "td_error": [1.0, 2.0],
            "num_trainable_parameters": float("nan"),
            "weights_seq_no": 4.0,
            "num_module_steps_trained": 320,
            "num_module_steps_trained_lifetime": 960,
            "module_train_batch_size_mean": 32.0,
        },
    },
    "evaluation": {"env_runners": {EPISODES: (25.0, 20)}},  # RLlib's way with a series of one
}


def test_figures_have_plain_names():
    iteration = read_result(RESULT, EPISODES, ENV_STEPS)
    assert iteration.figures == {"loss": 1.5, "entropy": 0.6, "value_loss": 0.25}
    assert (iteration.env_steps, iteration.updates, iteration.samples) == (40, 10, 320)


def test_the_mean_is_of_whole_episodes():
    progress = Progress()
    count(progress, read_result(RESULT, EPISODES, ENV_STEPS))
    count(progress, read_result({"env_runners": {ENV_STEPS: 8}}, EPISODES, ENV_STEPS))
    metrics = progress.metrics()
    assert metrics["env_steps"] == 48 and metrics["episodes"] == 2 and metrics["updates"] == 10
    assert metrics["episode_return_mean"] == 10.5 and metrics["episode_length_mean"] == 10.5
    assert progress.evaluated == {"evaluation_return_mean": 25.0}


def test_an_offline_algorithm_counts_the_rows_it_was_trained_on():
    result = {"learners": RESULT["learners"]}
    assert read_result(result, EPISODES, ENV_STEPS).env_steps == 320
    # Dead env runners are no data.
    silent = {**result, "env_runners": {"num_episodes": 0}}
    assert read_result(silent, EPISODES, ENV_STEPS).env_steps == 0


@dataclass
class Piece:
    """What an env runner hands over of an episode."""

    id_: str
    rewards: tuple[float, ...]
    is_done: bool = False

    def get_return(self):
        return sum(self.rewards)

    def __len__(self):
        return len(self.rewards)


@dataclass
class Log:
    """Keeps what is logged."""

    values: dict = field(default_factory=dict)

    def log_value(self, key, value, reduce):
        self.values.setdefault((key, reduce), []).append(value)


def test_pieces_of_an_episode_are_added_up_over_several_calls():
    runner, log = SimpleNamespace(), Log()
    first = [Piece("a", (1.0, 2.0)), Piece("b", (5.0,), is_done=True), Piece("c", (1.0,))]
    second = [Piece("a", (4.0,)), Piece("c", (2.0,), is_done=True)]
    third = [Piece("a", (0.5,), is_done=True)]
    for samples in (first, second, third):
        note_episodes(env_runner=runner, metrics_logger=log, samples=samples, worker_index=1)
    assert log.values[EPISODES, "item_series"] == [(5.0, 1), (3.0, 2), (7.5, 4)]
    assert log.values[ENV_STEPS, "sum"] == [4, 2, 1]
    assert getattr(runner, EPISODES) == {}
