"""Releases: small documents that name one version per job, and the aliases that point to them."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow.fs as pafs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.bundles.manifest import Name
from training.bundles.store import open_root, write_object
from training.contracts.errors import InputError, ShopkeeperError
from training.contracts.validation import problems_of

Alias = Literal["champion", "candidate", "previous"]


class Release(BaseModel):
    """Which version of each job is served together; `parent` is the champion it followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Name
    created_at: datetime
    jobs: dict[Name, Name] = Field(default_factory=dict)
    parent: Name | None = None
    reason: str = ""


class Registry:
    """The releases of one shop; every change writes a new release and moves an alias."""

    def __init__(self, root: str | Path, shop_id: str) -> None:
        self.filesystem, base = open_root(root)
        self.base, self.shop_id = f"{base}/{shop_id}", shop_id

    def get(self, alias: Alias) -> Release | None:
        """The release that `alias` points to, None before there is one."""
        pointer = self._read(f"aliases/{alias}.json")
        return None if pointer is None else self.release(pointer.release)

    def release(self, name: str) -> Release:
        """Raises InputError where it cannot be read as a release."""
        release = self._read(f"{name}.json")
        if release is None:
            raise ShopkeeperError(f"release {name} of shop {self.shop_id} is gone from {self.base}")
        return release

    def propose(self, job: str, version: str) -> Release:
        """Candidate: the champion with `job` at `version`."""
        with self._locked():
            return self._point("candidate", self._derive(job, version, f"candidate {job} {version}"))

    def promote(self, job: str, version: str, *, reason: str = "promoted") -> Release:
        """Champion: the present one with `job` at `version`; the present one becomes previous."""
        with self._locked():
            return self._succeed(self._derive(job, version, reason))

    def rollback(self, job: str) -> Release:
        """Champion with `job` at the version that served before; raises where none did."""
        with self._locked():
            champion = self.get("champion")
            version = None if champion is None else self._version_before(champion, job)
            if version is None:
                raise ShopkeeperError(f"no earlier champion of {job} to roll back to")
            return self._succeed(self._derive(job, version, f"rolled back {job}"))

    def history(self) -> list[Release]:
        """Champions, newest first."""
        found, release = [], self.get("champion")
        while release is not None:
            found.append(release)
            release = self.release(release.parent) if release.parent else None
        return found

    def _version_before(self, champion: Release, job: str) -> str | None:
        present = champion.jobs.get(job)
        for release in self.history()[1:]:
            if release.jobs.get(job) not in (None, present):
                return release.jobs[job]
        return None

    def _derive(self, job: str, version: str, reason: str) -> Release:
        champion = self.get("champion")
        now = datetime.now(UTC)
        return Release(
            release=f"r{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            created_at=now,
            jobs={**(champion.jobs if champion else {}), job: version},
            parent=champion.release if champion else None,
            reason=reason,
        )

    def _succeed(self, release: Release) -> Release:
        champion = self.get("champion")
        if champion is not None:
            self._point("previous", champion)
        return self._point("champion", release)

    def _point(self, alias: Alias, release: Release) -> Release:
        document = release.model_dump_json(indent=1).encode()
        write_object(self.filesystem, f"{self.base}/{release.release}.json", document)
        write_object(self.filesystem, f"{self.base}/aliases/{alias}.json", document)
        return release

    def _read(self, name: str) -> Release | None:
        path = f"{self.base}/{name}"
        if self.filesystem.get_file_info(path).type != pafs.FileType.File:
            return None
        with self.filesystem.open_input_stream(path) as stream:
            content = stream.read()
        try:
            return Release.model_validate_json(content)
        except ValidationError as error:
            raise InputError(problems_of(error, Release, file=path)) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time on a local store; object stores have a single deployer."""
        if not isinstance(self.filesystem, pafs.LocalFileSystem):
            yield
            return
        Path(self.base).mkdir(parents=True, exist_ok=True)
        with open(Path(self.base) / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
