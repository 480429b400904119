"""How fast this machine multiplies matrices: what bounds a training step.

python -m benchmarks.products bfloat16    ->    887.3      GFLOP/s, the best of some products of 4096 x 4096
"""

from __future__ import annotations

import sys
import time

SIZE, TIMES = 4096, 5


def main() -> None:
    import torch

    number = getattr(torch, sys.argv[1])
    left, right = torch.randn(SIZE, SIZE, dtype=number), torch.randn(SIZE, SIZE, dtype=number)
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    print(2 * SIZE**3 / min(seconds) / 1e9)


if __name__ == "__main__":
    main()
