"""`workload: rllib` job files: checked against RLlib's own attributes, without importing Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from covey.algorithms.rllib_build import order
from covey.algorithms.rllib_resources import share_out
from covey.algorithms.rllib_settings import algorithm_names, settings
from covey.platform.errors import JobFileError, KeyProblem
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import Resources

JOBS = Path(__file__).parents[2] / "deploy" / "jobs"


def job_of(config=None, algorithm="PPO", env="CartPole-v1", **shared):
    return parse_job_file(
        {
            "name": "test",
            "workload": "rllib",
            "stop": {"env_steps": 100},
            "resources": {"cpus": 2},
            **shared,
            "rllib": {"algorithm": algorithm, "env": {"id": env}, "config": config},
        },
        Path.cwd(),
    )


def problem_of(*arguments, **keywords):
    with pytest.raises(JobFileError) as caught:
        job_of(*arguments, **keywords)
    (line,) = caught.value.problems
    return line.removeprefix("job: ")


def test_the_algorithms_are_rllibs():
    assert {"APPO", "CQL", "DQN", "DreamerV3", "IMPALA", "MARWIL", "PPO", "SAC", "TQC"} <= set(
        algorithm_names()
    )


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_every_algorithm_has_settings_of_its_own_and_of_all(algorithm):
    known = settings(algorithm)
    assert known.keys() >= {"gamma", "num_env_runners", "model_config", "evaluation_interval"}
    assert "train_batch_size_per_learner" in known and "_is_frozen" not in known


def test_settings_are_the_nearest_ancestors():
    assert settings("PPO")["lambda_"].default == 1.0 and "vtrace" not in settings("PPO")
    assert settings("APPO")["vtrace"].default is True  # IMPALA's, whose child it is
    assert settings("SAC")["lr"].default is None and settings("PPO")["lr"].default == 5e-5
    assert "target_update_frequency" not in settings("APPO")  # assigned DEPRECATED_VALUE


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"algorithm": "PPPO"}, "rllib.algorithm: found 'PPPO', allowed are APPO, BC, CQL, DQN, "),
        ({"algorithm": "sac"}, "TQC; nearest is SAC"),
        ({"env": "CartPoel-v1"}, "rllib.env.id: 'CartPoel-v1' is not a registered"),
        ({"config": {"learning_rate": 1}}, "rllib.config.learning_rate: unknown key of RLlib's"),
        ({"config": {"clip_parm": 0.2}}, "unknown key of RLlib's PPO, nearest is clip_param"),
        ({"config": {"n_step": 3}}, "rllib.config.n_step: unknown key of RLlib's PPO"),
        ({"config": {"lr": "fast"}}, "lr: found 'fast', allowed is a number or a list"),
        ({"config": {"num_epochs": 2.5}}, "num_epochs: found 2.5, allowed is a whole number"),
        ({"config": {"use_gae": 1}}, "rllib.config.use_gae: found 1, allowed is true or false"),
        ({"config": {"gamma": True}}, "rllib.config.gamma: found true, allowed is a number"),
        ({"config": {"seed": 3}}, "rllib.config.seed: is not set here: write seed at the top"),
        ({"config": {"env": "CartPole-v1"}}, "env: is not set here: write it as rllib.env.id"),
        ({"config": {"callbacks_class": "a.B"}}, "takes a class or a function, and a job file"),
        ({"deterministic": True}, "deterministic: RLlib's algorithms cannot be repeated bit for"),
        (
            {"config": {"num_env_runners": 3, "num_cpus_per_env_runner": 1}},
            "resources.cpus: 3 env runners of rllib.config take 3 CPUs, more than this",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_one_line_with_the_nearest_right_one(arguments, line):
    assert line in problem_of(**arguments)


def test_what_fits():
    job = job_of(
        {
            "lr": [[0, 1e-3], [1000, 0]],
            "num_cpus_per_learner": "auto",
            "grad_clip": 40,
            "lambda_": 1,
        }
    )
    assert job.rllib.config["grad_clip"] == 40
    assert job_of(None).rllib.config == {}
    assert job_of({"target_entropy": -1.0, "n_step": [1, 3]}, "SAC").rllib.algorithm == "SAC"


def shared(algorithm, cpus, gpus=0, **config):
    return share_out(algorithm, config, Resources(cpus=cpus, gpus=gpus))


def test_sampling_and_learning_share_the_cpus():
    shares = shared("PPO", 2)  # RLlib's PPO has two env runners unless told otherwise
    assert shares.bundles() == [{"CPU": 1.0}, {"CPU": 0.5}, {"CPU": 0.5}]
    assert shares.config["num_cpus_per_env_runner"] == 0.5
    assert shared("DQN", 2).bundles() == [{"CPU": 2.0}]
    assert shared("PPO", 8, num_env_runners=3).bundles() == [{"CPU": 5.0}] + [{"CPU": 1.0}] * 3


def test_learners_aggregators_and_evaluation_count():
    config = {"num_env_runners": 2, "num_learners": 2, "num_aggregator_actors_per_learner": 1}
    assert shared("APPO", 8, **config).bundles() == [{"CPU": 2.0}] + [{"CPU": 1.0}] * 6
    config = {"num_env_runners": 1, "evaluation_num_env_runners": 1}
    assert len(shared("PPO", 4, **config).bundles()) == 2
    assert len(shared("PPO", 4, evaluation_interval=5, **config).bundles()) == 3


def test_who_takes_everything_leaves_no_place_for_the_algorithm_itself():
    shares = shared("PPO", 2, num_env_runners=2, num_cpus_per_env_runner=1)
    assert shares.main == {} and shares.bundles() == [{"CPU": 1.0}, {"CPU": 1.0}]


def test_gpus_belong_to_those_who_learn():
    assert shared("PPO", 2, 1, num_env_runners=1).main == {"CPU": 1.0, "GPU": 1.0}
    shares = shared("PPO", 4, 1, num_env_runners=1, num_learners=2)
    assert shares.actors[1:] == ({"CPU": 1.0, "GPU": 0.5},) * 2
    with pytest.raises(KeyProblem, match=r"found 1, fewer than rllib\.config asks for"):
        shared("PPO", 4, 1, num_gpus_per_learner=2)


def test_checking_a_job_file_imports_neither_ray_nor_torch():
    code = (
        "import sys; from pathlib import Path\n"
        "from covey.platform.jobfile.load import load_job_file\n"
        "load_job_file(Path(sys.argv[1]))\n"
        "print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(JOBS / "cartpole-ppo-rllib.yaml")]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"


def test_pictures_are_shown_as_the_job_file_says():
    document = {
        **{"name": "test", "workload": "rllib", "stop": {"env_steps": 100}},
        "rllib": {"algorithm": "PPO", "env": {"id": "ALE/Pong-v5", "preprocess": "none"}},
    }
    job = parse_job_file(document, Path.cwd())
    shares = share_out("PPO", job.section.config, job.resources)
    assert order(job, shares, 0).source.preprocess == "none"
