"""The machine's float32 matrix products, in GFLOP/s: what no update of a network can exceed.

Settings: `threads`.
"""

import torch
from serve import Measure, Settings, repeated, serve

SIDE = 2048


def prepare(settings: Settings) -> dict[str, Measure]:
    torch.set_num_threads(settings["threads"])
    left, right, product = (torch.rand(SIDE, SIDE) for _ in range(3))

    def multiply() -> float:
        torch.mm(left, right, out=product)
        return 2 * SIDE**3 / 1e9

    multiply()
    return {"peak": repeated(multiply)}


if __name__ == "__main__":
    serve(prepare)
