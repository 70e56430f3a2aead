"""Measures contenders in turns, so that they share whatever else the machine does."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def rates(contenders: Mapping[str, Work], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Operations per second of each contender, for each round, by two threads. The first
    round is a warm-up and does not count."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            rate = _rate(work, seconds)
            if number:
                found[name].append(rate)
    return found


def latencies(contenders: Mapping[str, Work], rounds: int, each: int) -> dict[str, list[float]]:
    """Seconds of each single operation, one after the other, ``each`` of them in a turn. The
    first round is a warm-up and does not count."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            for _ in range(each):
                start = time.perf_counter()
                work()
                if number:
                    found[name].append(time.perf_counter() - start)
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of neighbouring rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _rate(work: Work, seconds: float) -> float:
    counts: list[int] = []
    failures: list[BaseException] = []
    start = time.perf_counter()

    def run() -> None:
        done = 0
        try:
            while time.perf_counter() - start < seconds:
                work()
                done += 1
        except BaseException as error:
            failures.append(error)
        counts.append(done)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - start)
