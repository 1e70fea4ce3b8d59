"""The bundles that a bundle is trained on top of: their versions, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST


def upstream_versions(folders: Mapping[str, str]) -> dict[str, str]:
    """Of each job's bundle, by job."""
    return {job: _manifest(Path(folder)).version for job, folder in folders.items()}


def upstream_folder(folder: Path, job: str) -> Path:
    """The bundle of `job` that a bundle was trained on top of: beside it in the store, else where it was then."""
    manifest = _manifest(folder)
    beside = folder.parents[1] / job / manifest.upstream.get(job, "none")
    return beside if (beside / MANIFEST).is_file() else Path(manifest.config["upstream"][job])


def _manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
