"""make bench: every benchmark beside its peer, in one run, as ratios

python -m benchmarks
"""

from __future__ import annotations

from benchmarks import answering, data, startup, training


def main() -> None:
    for benchmark in (startup, data, training, answering):
        for line in benchmark.measure():
            print(line, flush=True)


if __name__ == "__main__":
    main()
