"""Arrays of a model that normalisation keeps up to date, and no gradient."""

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""What their names end with in torch's models."""


def has_gradient(name: str) -> bool:
    """Whether the array of that name is trained by descent."""
    return not name.endswith(RUNNING)
