"""Thread counts: each role sets its own, so that roles which share cores do not fight over them."""


def one_blas_thread() -> None:
    """Keep numpy's matrix products on one thread in this process.

    Those that act are too small to gain from more, and their last bits would depend on the machine.
    torch has a pool of its own (`torch.set_num_threads`).
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1, user_api="blas")
