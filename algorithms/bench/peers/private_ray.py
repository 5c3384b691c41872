"""A Ray for one measured process alone, which ends with it."""

import ray


def private_ray(cpus: int) -> None:
    """Start it with so many CPUs, as many as its actors ask for, and no dashboard.

    `covey bench` has set the variables of the environment that make it answer to our token only.
    """
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
