"""What each table of a training takes, whether this machine has it, and what to set where it has not."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from training.contracts.errors import InputError, Problem

CGROUPS = Path("/sys/fs/cgroup")
CGROUP_LIMITS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
TORCH_SAYS = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one table takes in one worker; `holds` says of what a row's bytes are, `to_set` what makes it smaller."""

    table: str
    rows: int
    row_bytes: float
    holds: str
    to_set: str

    @property
    def bytes(self) -> float:
        return self.rows * self.row_bytes

    def __str__(self) -> str:
        return f"{self.table}: {size(self.bytes)} ({self.rows:,} rows x {self.row_bytes:,.0f} bytes: {self.holds})"


def size(bytes_: float) -> str:
    """In the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if bytes_ < 1024:
            return f"{bytes_:.3g} {unit}"
        bytes_ /= 1024
    return f"{bytes_:,.1f} GiB"


def refuse_too_large(needs: Sequence[Need], available_bytes: float) -> None:
    """Raises InputError naming the largest table where all together do not fit."""
    total = sum(need.bytes for need in needs)
    if total > available_bytes:
        raise InputError(_too_large(needs, f"{size(available_bytes)} are free, all tables need {size(total)}"))


@contextmanager
def memory_named(needs: Sequence[Need]) -> Iterator[None]:
    """Turns running out of memory inside into an InputError that names the largest table."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        raise InputError(_too_large(needs, str(error).strip().splitlines()[0] if str(error) else "")) from error


def available_bytes(device: torch.device) -> float:
    """Free for this process: of the GPU, or of the machine within cgroup and address space limits.

    Workers on one machine get equal parts.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = [psutil.virtual_memory().available, *_cgroups_bytes(), *_address_space_bytes()]
    return min(free) / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error) for words in TORCH_SAYS)


def _too_large(needs: Sequence[Need], found: str) -> Problem:
    ordered = sorted(needs, key=lambda need: -need.bytes)
    return Problem(
        table=ordered[0].table,
        problem="out of memory: " + "; ".join(map(str, ordered)),
        found=found or None,
        allowed=ordered[0].to_set,
    )


def _cgroups_bytes() -> Iterator[float]:
    """Left of each limited cgroup from this process's up to the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    names = [line.split(":", 2)[2].lstrip("/") for line in lines]
    folders = {folder for name in names for base in (CGROUPS, CGROUPS / "memory") for folder in _upwards(base, name)}
    for folder in folders:
        for limit, usage in CGROUP_LIMITS:
            try:
                yield int((folder / limit).read_text()) - int((folder / usage).read_text()) + _file_cache_bytes(folder)
            except (OSError, ValueError):
                continue


def _upwards(base: Path, name: str) -> Iterator[Path]:
    path = base / name
    yield from (folder for folder in (path, *path.parents) if folder.is_relative_to(base))


def _file_cache_bytes(folder: Path) -> int:
    """What a cgroup counts as used but gives back when asked."""
    fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(fields.get("inactive_file", 0))


def _address_space_bytes() -> Iterator[float]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms
