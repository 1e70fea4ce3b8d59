"""Bundles are immutable, checked on the way out, and exist only with their manifest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from training.bundles.manifest import DataWindow, Manifest, code_revision, describe_files, library_versions
from training.bundles.store import BundleStore, new_version
from training.contracts.errors import InputError, ShopkeeperError


def make_manifest(folder: Path, version: str = "20260101-000000-0000") -> Manifest:
    return Manifest(
        job="recommender", version=version, model="popularity", shop_id="shop", created_at=datetime.now(UTC),
        data=DataWindow(fingerprint="f", reference_date=datetime(2026, 1, 1, tzinfo=UTC)), catalogue_seq=7,
        code_revision=code_revision(), config={"epochs": 1}, metrics={"ndcg@10": 0.1}, validation={}, baselines={},
        train_seconds=1.0, cpu_seconds=1.0, files=describe_files(folder), libraries=library_versions(),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "index").mkdir(parents=True)
    (made / "weights.safetensors").write_bytes(b"w" * 1000)
    (made / "index" / "flat.faiss").write_bytes(b"i" * 10)
    return made


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "bundles")


def test_a_published_bundle_comes_back_whole(store: BundleStore, folder: Path) -> None:
    manifest = make_manifest(folder)
    store.publish(folder, manifest)
    fetched = store.fetch("shop", "recommender", manifest.version)
    assert (fetched / "index" / "flat.faiss").read_bytes() == b"i" * 10
    assert store.manifest("shop", "recommender", manifest.version) == manifest
    assert store.versions("shop", "recommender") == [manifest.version]


@pytest.mark.parametrize("content", [b"w" * 999, b"W" * 1000, None], ids=["truncated", "changed", "absent"])
def test_a_corrupt_file_is_refused_by_name(store: BundleStore, folder: Path, content: bytes | None) -> None:
    manifest = make_manifest(folder)
    store.publish(folder, manifest)
    victim = Path(store.root) / "shop" / "recommender" / manifest.version / "weights.safetensors"
    victim.unlink() if content is None else victim.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.safetensors.*checksum"):
        store.fetch("shop", "recommender", manifest.version)


def test_without_a_manifest_there_is_no_bundle(store: BundleStore, folder: Path) -> None:
    manifest = make_manifest(folder)
    store.publish(folder, manifest)
    (Path(store.root) / "shop" / "recommender" / manifest.version / "manifest.json").unlink()
    assert store.versions("shop", "recommender") == []
    with pytest.raises(InputError, match="shopkeeper train recommender"):
        store.fetch("shop", "recommender", manifest.version)


def test_a_version_is_published_once(store: BundleStore, folder: Path) -> None:
    store.publish(folder, make_manifest(folder))
    with pytest.raises(ShopkeeperError, match="immutable"):
        store.publish(folder, make_manifest(folder))


def test_a_failed_publish_leaves_nothing(store: BundleStore, folder: Path) -> None:
    manifest = make_manifest(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        store.publish(folder, manifest)
    assert not (Path(store.root) / "shop" / "recommender" / manifest.version).exists()


def test_a_store_that_cannot_be_written_says_its_own_cause(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("a file where the store should be")
    with pytest.raises(OSError, match="bundles"):
        BundleStore(tmp_path / "bundles").publish(folder, make_manifest(folder))


def test_an_unknown_version_names_the_nearest(store: BundleStore, folder: Path) -> None:
    store.publish(folder, make_manifest(folder, "20260101-000000-abcd"))
    with pytest.raises(InputError) as caught:
        store.manifest("shop", "recommender", "20260101-000000-abce")
    assert caught.value.problems[0].nearest == "20260101-000000-abcd"


def test_a_manifest_of_a_newer_schema_is_refused(store: BundleStore, folder: Path) -> None:
    manifest = make_manifest(folder).model_copy(update={"schema_version": 99})
    store.publish(folder, manifest)
    with pytest.raises(InputError, match="newer shopkeeper"):
        store.fetch("shop", "recommender", manifest.version)


def test_the_store_works_on_any_arrow_file_system(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    store = BundleStore(f"file://{tmp_path}/remote")
    manifest = make_manifest(folder)
    store.publish(folder, manifest)
    assert (store.fetch("shop", "recommender", manifest.version) / "weights.safetensors").is_file()


def test_versions_sort_by_time() -> None:
    earlier = new_version(datetime(2026, 1, 1, tzinfo=UTC))
    later = new_version(datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert earlier < later


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:evil", "a//b", "", "."])
def test_a_manifest_cannot_name_a_file_outside_the_bundle(store: BundleStore, folder: Path, name: str) -> None:
    manifest = make_manifest(folder)
    store.publish(folder, manifest)
    path = Path(store.root) / "shop" / "recommender" / manifest.version / "manifest.json"
    document = json.loads(path.read_text())
    document["files"][name] = document["files"]["weights.safetensors"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="relative"):
        store.fetch("shop", "recommender", manifest.version)


@pytest.mark.parametrize("field", ["job", "version", "shop_id"])
@pytest.mark.parametrize("name", ["..", "../up", "a/b", "a\\b", "", "v" * 65, "v1\n"])
def test_a_manifest_cannot_name_another_folder(folder: Path, field: str, name: str) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**make_manifest(folder).model_dump(), field: name})
