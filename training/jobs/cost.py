"""What a fit takes: seconds by the clock, and of the processors of all workers."""

from __future__ import annotations

import time

from training.jobs.workers import Workers


class Cost:
    """Counts from when it was made, and what is said to have been taken before."""

    def __init__(self) -> None:
        self._began_s, self._began_cpu_s = time.monotonic(), time.process_time()
        self._earlier_s, self._more_cpu_s = 0.0, 0.0

    def add_earlier(self, seconds: float, cpu_seconds: float) -> None:
        """Those of the epochs before an interruption."""
        self._earlier_s += seconds
        self._more_cpu_s += cpu_seconds

    def add_others(self, workers: Workers) -> None:
        """Processor time of the other ranks so far; every rank calls it, once."""
        own_s = time.process_time() - self._began_cpu_s
        (all_s,) = workers.sum([own_s])
        self._more_cpu_s += all_s - own_s

    @property
    def seconds(self) -> float:
        return self._earlier_s + time.monotonic() - self._began_s

    @property
    def cpu_seconds(self) -> float:
        return self._more_cpu_s + time.process_time() - self._began_cpu_s
