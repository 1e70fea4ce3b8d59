"""Where bundles live: immutable folders on any pyarrow file system; no manifest, no bundle."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs
from pydantic import ValidationError

from training.bundles.manifest import SCHEMA_VERSION, Manifest, describe_file
from training.contracts.atomic import write_bytes
from training.contracts.errors import InputError, Problem, ShopkeeperError, nearest
from training.contracts.validation import problems_of

MANIFEST = "manifest.json"


class BundleStore:
    """Bundles by shop, job and version below one root: a local path or a file system URI (s3://, gs://).

    Remote bundles are fetched into `cache`; a local store is read in place.
    """

    def __init__(self, root: str | Path, *, cache: Path | None = None) -> None:
        self.filesystem, self.root = open_root(root)
        self.cache = cache

    def publish(self, folder: Path, manifest: Manifest) -> None:
        """Copy a finished folder in; the bundle exists from the moment its manifest does."""
        target = self._path(manifest.shop_id, manifest.job, manifest.version)
        if self._exists(f"{target}/{MANIFEST}"):
            raise ShopkeeperError(f"bundle {manifest.job} {manifest.version} exists already: bundles are immutable")
        try:
            for name in manifest.files:
                self._write(f"{target}/{name}", (folder / name).read_bytes())
            self._write(f"{target}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
        except BaseException:
            if self.filesystem.get_file_info(target).type == pafs.FileType.Directory:
                self.filesystem.delete_dir(target)
            raise

    def versions(self, shop_id: str, job: str) -> list[str]:
        """Published versions, oldest first."""
        base = self._path(shop_id, job)
        found = self.filesystem.get_file_info(pafs.FileSelector(base, allow_not_found=True))
        names = sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)
        return [name for name in names if self._exists(f"{base}/{name}/{MANIFEST}")]

    def manifest(self, shop_id: str, job: str, version: str) -> Manifest:
        """Raises InputError where there is no such bundle, or one of a newer schema."""
        path = f"{self._path(shop_id, job, version)}/{MANIFEST}"
        if not self._exists(path):
            known = self.versions(shop_id, job)
            raise InputError(
                Problem(
                    field="version",
                    problem=f"no {job} bundle of shop {shop_id}",
                    found=version,
                    allowed=", ".join(known[-5:]) or "none yet: shopkeeper train " + job,
                    nearest=nearest(version, known),
                )
            )
        with self.filesystem.open_input_stream(path) as stream:
            content = stream.read()
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise InputError(problems_of(error, Manifest, file=path)) from error
        if manifest.schema_version > SCHEMA_VERSION:
            raise InputError(
                Problem(
                    file=path, field="schema_version", problem="written by a newer shopkeeper",
                    found=str(manifest.schema_version), allowed=f"<= {SCHEMA_VERSION}",
                )
            )  # fmt: skip
        return manifest

    def fetch(self, shop_id: str, job: str, version: str) -> Path:
        """A local folder with the bundle, every checksum verified; raises InputError naming a corrupt file."""
        manifest = self.manifest(shop_id, job, version)
        source = self._path(shop_id, job, version)
        folder = Path(source)
        if not isinstance(self.filesystem, pafs.LocalFileSystem):
            folder = self._download(source, manifest)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file() or describe_file(path) != expected:
                raise InputError(
                    Problem(
                        file=str(path),
                        problem="does not match the checksum in manifest.json: the bundle is corrupt or truncated",
                        found="absent" if not path.is_file() else f"{path.stat().st_size} bytes",
                        allowed=f"{expected.size_bytes} bytes, sha256 {expected.sha256[:12]}",
                    )
                )
        return folder

    def _download(self, source: str, manifest: Manifest) -> Path:
        assert self.cache is not None, "a remote store needs a cache folder"
        folder = self.cache / manifest.shop_id / manifest.job / manifest.version
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file() or describe_file(path) != expected:
                path.parent.mkdir(parents=True, exist_ok=True)
                pafs.copy_files(f"{source}/{name}", str(path), self.filesystem, pafs.LocalFileSystem())
        return folder

    def _path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def _exists(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type == pafs.FileType.File)

    def _write(self, path: str, content: bytes) -> None:
        write_object(self.filesystem, path, content)


def open_root(root: str | Path) -> tuple[pafs.FileSystem, str]:
    """The file system and path of a local folder or a URI."""
    if isinstance(root, Path) or "://" not in root:
        return pafs.LocalFileSystem(), Path(root).absolute().as_posix()
    filesystem, path = pafs.FileSystem.from_uri(root)
    return filesystem, path.rstrip("/")


def write_object(filesystem: pafs.FileSystem, path: str, content: bytes) -> None:
    """Write one object so that readers see all of it or none: object stores do so by themselves, folders by rename."""
    filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
    if isinstance(filesystem, pafs.LocalFileSystem):
        write_bytes(Path(path), content)
        return
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


def new_version(now: datetime | None = None) -> str:
    """A version that sorts by time and never collides: 20260131-142233-9f3a."""
    return f"{(now or datetime.now(UTC)):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
