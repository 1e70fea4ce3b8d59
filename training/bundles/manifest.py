"""manifest.json: what a bundle is, where it came from, and the checksum of every file in it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
LIBRARIES = ("shopkeeper", "torch", "ray", "faiss-cpu", "numpy", "pyarrow", "safetensors", "lightgbm", "statsforecast")


def _inside(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")) or any(letter in name for letter in "\\:\0"):
        raise ValueError("a file of a bundle is named relative to it, as in index/flat.faiss")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
"""What becomes the name of one folder or file."""

FileName = Annotated[str, AfterValidator(_inside)]
"""A path below a bundle's folder."""


class BundleFile(BaseModel):
    """One file of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str
    size_bytes: int


class DataWindow(BaseModel):
    """The data that a bundle was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fingerprint: str
    reference_date: datetime
    first_event: datetime | None = None
    last_event: datetime | None = None
    rows: dict[str, int] = Field(default_factory=dict)
    columns: dict[str, float] = Field(default_factory=dict)
    """Of the items table: the share of items that have a value, by column that models read."""


class Manifest(BaseModel):
    """Everything there is to know about a bundle without opening its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    job: Name
    version: Name
    model: str
    shop_id: Name
    created_at: datetime
    data: DataWindow
    catalogue_seq: int
    upstream: dict[Name, Name] = Field(default_factory=dict)
    code_revision: str
    config: dict[str, Any]
    metrics: dict[str, float]
    validation: dict[str, float]
    baselines: dict[str, dict[str, float]]
    notes: list[str] = Field(default_factory=list)
    train_seconds: float
    cpu_seconds: float
    files: dict[FileName, BundleFile]
    libraries: dict[str, str]


def describe_files(folder: Path) -> dict[str, BundleFile]:
    """Size and sha256 of every file below `folder`, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): describe_file(path) for path in files}


def describe_file(path: Path) -> BundleFile:
    with open(path, "rb") as file:
        return BundleFile(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size_bytes=path.stat().st_size)


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that shape a bundle's numbers."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def code_revision() -> str:
    """The git commit this code runs from (`+` when changed since), else the installed version."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except OSError:
        described = None
    if described is not None and described.returncode == 0 and "site-packages" not in here.parts:
        return described.stdout.strip()
    return library_versions().get("shopkeeper", "unknown")
