"""Jobs whose updates are computed by coded workers, some of which are killed on the way."""

import json

import pytest
from started_job import actors_of, lines, start, wait_for

MADDPG = {
    "name": "maddpg",
    "hidden": [16],
    "batch_size": 32,
    "learning_starts": 100,
    "updates_per_step": 0.2,
    "buffer_size": 2000,
}
STEPS = 15000  # of single agents: 5,000 moments; metrics are told after each 1,000


def section(**more):
    return {
        "algorithm": MADDPG,
        "env": {"id": "simple_spread", "agents": 3},
        "sampling": {"envs_per_sampler": 4, **more.pop("sampling")},
        **more,
    }


@pytest.mark.slow
@pytest.mark.ray
def test_killed_workers_change_no_bit_of_what_is_learnt(tmp_path):
    """Up to the tolerance, and beyond it."""
    late = {"workers": [0, 1, 2, 3, 4], "delay_s": 0.03}
    coded = {"code": "mds", "workers": 5, "exact": True, "inject": late}
    path = tmp_path / "coded"
    process = start(
        path,
        tmp_path / "home",
        section(sampling={"samplers": 1}, coded=coded),
        STEPS,
        deterministic=True,
    )
    everybody = {f"coded-{worker}" for worker in range(5)}
    wait_for(process, lambda: everybody <= set(actors_of(process)), "not all there")
    actors = actors_of(process)
    killed = 0
    # None dies twice, so nobody is waited for: after the first two the others go on, and any three
    # at once are too many.
    for updates, victims in ((100, (0, 3)), (250, (1, 2, 4))):
        wait_for(
            process,
            lambda at=updates: [line for line in lines(path) if line.get("updates", 0) >= at],
            f"never came to {updates} updates",
        )
        for victim in victims:
            actors[f"coded-{victim}"].kill()
        killed += len(victims)
    assert process.wait() == 0
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    replaced = [one["message"] for one in events if one["kind"] == "replaced"]
    assert len(replaced) == killed and all("coded" in message for message in replaced)
    alone = section(sampling={"samplers": 0})
    central = start(tmp_path / "central", tmp_path / "home", alone, STEPS, deterministic=True)
    assert central.wait() == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = (
            (run / "checkpoints" / "latest" / name).read_bytes()
            for run in (path, tmp_path / "central")
        )
        assert ours == theirs
