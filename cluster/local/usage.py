"""Memory and processor time of a process and all that it started."""

from __future__ import annotations

import time

import psutil

from cluster.local.run_state import Usage


class UsageMeter:
    """Measures the tree below one process; processor use is the mean since the last reading."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu_s: dict[int, float] = {}
        self._read_s = time.monotonic()
        self.read()

    def read(self) -> Usage:
        """Proportional memory (shared pages counted once), and cores busy since the last reading."""
        cpu_s: dict[int, float] = {}
        memory_bytes = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                memory_bytes += process.memory_full_info().pss
                times = process.cpu_times()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            cpu_s[process.pid] = times.user + times.system
        now_s = time.monotonic()
        spent_s = sum(used - self._cpu_s.get(pid, 0.0) for pid, used in cpu_s.items())
        cores = spent_s / max(now_s - self._read_s, 1e-9)
        self._cpu_s, self._read_s = cpu_s, now_s
        return Usage(processes=len(cpu_s), memory_bytes=memory_bytes, cpu_cores=round(cores, 2))
