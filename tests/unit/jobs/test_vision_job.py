"""The vision job on discs whose colour is their label, wherever they are and whatever is behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.picture_shop import COLOURS, images_table, make_picture_shop
from training.contracts.errors import InputError
from training.contracts.shop import Shop
from training.jobs import embedding_stage
from training.jobs.embedding_stage import EmbeddingStage
from training.jobs.job import FitResult, LocalReport
from training.jobs.metric_heads import MetricHead
from training.jobs.pictures import read_picture
from training.jobs.vision import JOB
from training.jobs.vision_batch import NEAREST, NearestBatch, image_paths
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import is_held_out, load
from training.models.visual_search import VisualSearch
from training.report import write_report

SMALL: dict[str, Any] = {
    "epochs": 3, "dim": 16, "prefixes": [8], "pictures_per_step": 16, "backbone": {"width": 8}, "learning_rate": 0.01,
    "detector": {"side": 64, "channels": 8, "epochs": 2},
}  # fmt: skip


def config(**changes: Any) -> VisionConfig:
    return VisionConfig.model_validate({**SMALL, **changes})


def fit(shop: Shop, root: Path, settings: VisionConfig) -> FitResult:
    return JOB.fit(settings, JOB.load(shop, settings), LocalReport(root / "checkpoints"), root / "bundle")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vision")


@pytest.fixture(scope="module")
def shop(root: Path) -> Shop:
    shop = make_picture_shop(root / "shop")
    (shop.path / "pictures" / "train-red-3.png").write_bytes(b"no picture")
    return shop


@pytest.fixture(scope="module")
def result(shop: Shop, root: Path) -> FitResult:
    return fit(shop, root / "run", config(epochs=8))


def test_colours_are_learnt_and_compared_with_baselines(result: FitResult) -> None:
    assert result.metrics["recall@1"] >= 0.9
    assert {"recall@1", "recall@5", "map@10", "reranked_map@10"} <= result.metrics.keys()
    assert set(result.baselines) == {"colour_histogram", "raw_pixels"}
    assert any("chosen by recall@1 on validation" in note for note in result.notes)
    pictures = VisualSearch.load(result.folder).index.ids
    assert f"of {len(pictures)} indexed pictures {len(pictures)} find themselves first" in result.notes


def test_answers_are_judged_by_item_where_the_shop_has_items(result: FitResult, tmp_path: Path) -> None:
    assert "item_recall@5" not in result.metrics

    def of_items(row: dict[str, Any]) -> dict[str, Any]:
        """Twelve items in four colours; the third test picture of each colour is of an item that is nowhere else."""
        split, colour, number = row["image_id"].split("-")
        return {**row, "item_id": f"{colour}-{int(number) % 3}" if split == "train" or number != "3" else "new"}

    found = fit(changed(make_picture_shop(tmp_path / "shop"), of_items), tmp_path / "run", config(epochs=4))
    assert "answers by item: 12 of 16 test pictures, all of an item that the index has" in found.notes
    assert 0.05 <= found.metrics["item_recall@1"] < 1, "nothing tells items of one colour apart"
    assert found.metrics["item_recall@1"] < found.metrics["item_recall@5"] == 1, "of a colour there are but three"


def test_an_unreadable_image_is_a_row_of_the_report(result: FitResult, tmp_path: Path) -> None:
    (problem,) = result.problems
    assert problem.startswith("images row 3 (pictures/train-red-3.png): ")
    page = write_report(result, tmp_path / "report.html", job="vision", config=config()).read_text()
    assert "pictures/train-red-3.png" in page
    assert page.count("data:image/jpeg;base64,") == len(result.exhibits) > 0


def test_the_bundle_finds_what_evaluation_says(result: FitResult, shop: Shop) -> None:
    again = JOB.evaluate(result.folder, shop)
    for name, value in again["metrics"].items():
        assert value == pytest.approx(result.metrics[name], abs=1e-6)
    assert again["baselines"] == result.baselines


def test_the_index_holds_the_readable_training_images(result: FitResult, shop: Shop) -> None:
    search = VisualSearch.load(result.folder)
    assert len(search.index) == 12 * len(COLOURS) - 1
    picture = read_picture(shop.path / "pictures" / "train-blue-1.png")
    (found,) = search.search(search.embed([picture]), 4)
    assert found[0][0] == "blue"
    slots, _ = search.reordered(False).images(search.embed([picture])[0], 1)
    assert search.index.ids[slots[0]] == "train-blue-1"


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, optimizer: str) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=5, tests=1)
    settings = config(optimizer=optimizer)
    whole = fit(shop, tmp_path / "whole", settings)

    class Stopped(Exception):
        pass

    class StopsAfterOne(LocalReport):
        def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None:
            super().__call__(metrics, checkpoint)
            raise Stopped

    data = JOB.load(shop, settings)
    with pytest.raises(Stopped):
        JOB.fit(settings, data, StopsAfterOne(tmp_path / "part" / "checkpoints"), tmp_path / "part" / "bundle")
    resumed = fit(shop, tmp_path / "part", settings)
    assert any("went on after epoch 1" in note for note in resumed.notes)
    assert [line["epoch"] for line in resumed.curve] == [1, 2, 3]
    assert resumed.train_seconds == pytest.approx(sum(line["seconds"] for line in resumed.curve))
    assert resumed.cpu_seconds == pytest.approx(sum(line["cpu_s"] for line in resumed.curve))
    vectors = [VisualSearch.load(run.folder).index.vectors() for run in (whole, resumed)]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "pictures", "views", "kind", "step_rate"),
    [({}, 3_000, 1, "sgd", 0.1), ({}, 60_000, 1, "adamw", 4e-3), ({}, 3_000, 2, "adamw", 4e-3),
     ({"pictures_per_step": 32}, 3_000, 1, "sgd", 0.1), ({"pictures_per_step": 32}, 60_000, 1, "adamw", 2e-3),
     ({"learning_rate": 2e-3}, 60_000, 1, "adamw", 2e-3), ({"optimizer": "adamw"}, 60_000, 1, "adamw", 4e-3),
     ({"learning_rate": 0.01}, 3_000, 1, "adamw", 0.01), ({"weight_decay": 0.05}, 3_000, 1, "adamw", 2e-3),
     ({"optimizer": "sgd"}, 60_000, 2, "sgd", 0.2), ({"optimizer": "sgd", "learning_rate": 0.05}, 9, 1, "sgd", 0.05),
     ({"backbone": {"kind": "efficientnet"}}, 3_000, 1, "adamw", 2e-3)],
)  # fmt: skip
def test_the_optimiser_suits_the_network_and_the_pictures(
    settings: dict[str, Any], pictures: int, views: int, kind: str, step_rate: float
) -> None:
    chosen = VisionConfig.model_validate(settings).descent(pictures, views)
    assert (chosen.kind, chosen.step_rate) == (kind, step_rate)
    usual = 128 if (kind, views, step_rate) == ("adamw", 1, 4e-3) else 64
    assert chosen.pictures_per_step == settings.get("pictures_per_step", usual)


def test_few_pictures_of_each_label_are_all_learnt_from(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "few", each=5, tests=1)
    data = load(shop, config())
    assert len(data.shots["train"]) == 5 * len(COLOURS)
    assert (data.few, data.views, data.seen_again) == (True, 2, True)
    asked = load(shop, config(hold_out=True))
    assert 0 < len(asked.shots["validation"]) == 5 * len(COLOURS) - len(asked.shots["train"])
    assert (asked.few, asked.views, asked.seen_again) == (True, 2, False)


def test_many_pictures_of_a_label_spare_some_for_validation(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "many", each=20, tests=1)
    data = load(shop, config())
    assert (data.few, data.views, data.seen_again) == (False, 1, False)
    assert len(data.shots["train"]) == 20 * len(COLOURS) - len(data.shots["validation"])
    assert load(shop, config(hold_out=False)).seen_again


def test_pictures_of_few_are_found_by_their_labels_proxies_too(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "few", each=5, tests=2)
    result = fit(shop, tmp_path / "run", config(epochs=3))
    search = VisualSearch.load(result.folder)
    assert search.proxies is not None
    assert search.proxies.labels == sorted(COLOURS)
    assert JOB.evaluate(result.folder, shop)["metrics"]["map@10"] == pytest.approx(result.metrics["map@10"], abs=1e-6)
    plain = search.embed(
        [read_picture(shop.path / path) for path in shop.table("images", ("path",))["path"].to_pylist()]
    )
    drawn = search.index.vectors()
    assert not np.allclose(plain[: len(drawn)], drawn, atol=0.01)
    singly = fit(shop, tmp_path / "plain", config(epochs=1, head="softmax"))
    assert VisualSearch.load(singly.folder).proxies is None


def test_a_label_of_many_spares_some_among_labels_of_few(tmp_path: Path) -> None:
    def mostly_few(row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["image_id"].rpartition("-")[2])
        return row if row["label"] == "red" else {**row, "label": f"{row['label']} {number // 2}"}

    data = load(changed(make_picture_shop(tmp_path / "shop", each=40, tests=1), mostly_few), config())
    assert data.few
    assert {shot.label for shot in data.shots["validation"]} == {"red"}
    assert not data.seen_again


def test_what_boxes_hold_is_held_out_with_its_photo(tmp_path: Path) -> None:
    data = load(make_picture_shop(tmp_path / "shop", each=6, tests=1, side=64, boxes=True), config())
    photos = {scene.image_id for scene in data.scenes["validation"]}
    assert photos
    assert not photos & {shot.image_id.rpartition("#")[0] for shot in data.shots["train"]}


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=5, tests=1)
    fit(shop, tmp_path / "run", config(optimizer="adamw"))
    with pytest.raises(InputError, match="found AdamW; allowed SGD"):
        fit(shop, tmp_path / "run", config(optimizer="sgd"))


def test_boxes_train_a_detector_and_are_what_is_embedded(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=5, tests=2, side=64, boxes=True)
    result = fit(shop, tmp_path / "run", config(side=16))
    assert {"recall_iou50", "ap50", "recall@1"} <= result.metrics.keys()
    unordered, ordered = result.baselines["box_priors"], result.baselines["box_priors_likeliest_first"]
    assert ordered.keys() == unordered.keys() == {"recall_iou50", "ap50"}
    assert ordered["recall_iou50"] == unordered["recall_iou50"]
    search = VisualSearch.load(result.folder)
    (found,) = search.detect([read_picture(shop.path / "pictures" / "test-red-0.png")], 3)
    assert 0 < len(found) <= 3
    assert all(0 <= one.box[0] < one.box[2] <= 1 and 0 <= one.box[1] < one.box[3] <= 1 for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def changed(shop: Shop, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Shop:
    """The shop with each row of its images as `change` makes it."""
    rows = [change(row) for row in shop.table("images").to_pylist()]
    pq.write_table(images_table(rows), shop.path / "images.parquet")
    return Shop(shop.path)


def test_a_short_prefix_is_served_and_measured(tmp_path: Path) -> None:
    result = fit(make_picture_shop(tmp_path / "shop", each=6), tmp_path / "run", config(serve_dim=8))
    assert VisualSearch.load(result.folder).dim == 8
    with pytest.raises(ValueError, match="serve_dim: 32 is beyond dim, 16"):
        config(serve_dim=32)


def test_a_photo_without_any_article_is_a_scene_too(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=5, tests=2, side=64, boxes=True)
    changed(shop, lambda row: {**row, "boxes": []} if row["image_id"].endswith("-0") else row)
    data = load(shop, config())
    assert {scene.image_id for part in data.scenes.values() for scene in part if not scene.boxes} == {
        f"{split}-{colour}-0" for split in ("train", "test") for colour in COLOURS
    }
    assert {"recall_iou50", "ap50"} <= fit(shop, tmp_path / "run", config(side=16)).metrics.keys()


def test_a_picture_put_by_item_alone_has_the_label_of_the_others_of_its_item(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=4, tests=1, items=True)

    def few_labels(row: dict[str, Any]) -> dict[str, Any]:
        """One training picture of an item has its label; that of a test picture is not for training."""
        label = row["label"] if row["image_id"].endswith("-0") else None
        return {**row, "item_id": "thing-" + row["label"], "label": "of test" if row["split"] == "test" else label}

    assert load(changed(shop, few_labels), config()).labels == tuple(sorted(COLOURS))


def test_validation_is_held_out_by_hash_and_no_label_loses_all(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=12, tests=1)
    data = load(shop, config())
    held = {shot.image_id for shot in data.shots["validation"]}
    assert held == {name for name in held if is_held_out(name)} != set()
    assert {shot.label for shot in data.shots["train"]} == set(COLOURS)
    assert {shot.image_id for shot in data.gallery} == held | {shot.image_id for shot in data.shots["train"]}


def test_one_picture_of_each_article_is_judged_by_other_views_of_it(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=1, tests=3)
    result = fit(shop, tmp_path / "run", config(epochs=1, learning_rate=1e-9))
    assert any("other views of training's pictures" in note for note in result.notes)
    assert result.validation["recall@1"] >= 0.5
    (choice,) = (note for note in result.notes if "chosen by recall@1" in note)
    assert "colour_histogram 0.0000" not in choice


def test_a_shop_without_pictures_says_what_is_missing(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=0, tests=1)
    with pytest.raises(InputError, match="no training image"):
        load(shop, config())


def test_a_shop_of_broken_pictures_is_refused(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=3, tests=1)
    for file in (shop.path / "pictures").iterdir():
        file.write_bytes(b"broken")
    with pytest.raises(InputError, match="no picture can be read"):
        fit(shop, tmp_path / "run", config())


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("broken", ["train-red-1", "test-", "train-red train-blue train-green train-yellow-1"])
def test_a_few_broken_pictures_stop_nothing(broken: str, views: int, tmp_path: Path) -> None:
    """Though they be all of a batch or all but one, of validation or of test."""
    shop = make_picture_shop(tmp_path / "shop", each=2, tests=1)
    files = [file for file in (shop.path / "pictures").iterdir() if file.stem.startswith(tuple(broken.split()))]
    for file in files:
        file.write_bytes(b"broken")
    found = fit(shop, tmp_path / "run", config(pictures_per_step=2, epochs=1, views=views))
    assert len(found.problems) == len(files)
    assert "network" in {found.model, *found.baselines}
    own, said = found.metrics.get("recall@1", 0.0), " ".join(found.notes)
    for name, metrics in found.baselines.items():
        assert (f"on test {name} finds more" in said) == (metrics.get("recall@1", 0.0) > own)
    again = JOB.evaluate(found.folder, shop)["metrics"]
    assert again == {name: found.metrics[name] for name in ("recall@1", "recall@5", "map@10") if name in found.metrics}
    assert bool(again) == (broken != "test-")


def test_splits_that_play_no_part_are_left_out(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=4, tests=1)
    parts = changed(shop, lambda row: {**row, "split": "train_10" if "-3" in row["image_id"] else row["split"]})
    assert len(load(parts, config()).gallery) == 3 * len(COLOURS)
    assert len(load(parts, config(train_split="train_10")).gallery) == len(COLOURS)
    with pytest.raises(InputError, match=r"train_split.*no image has this split") as refused:
        load(parts, config(train_split="train_01"))
    assert refused.value.problems[0].nearest == "train_10"


def test_batch_inference_has_a_row_for_every_image(result: FitResult, shop: Shop) -> None:
    (block,) = image_paths(shop)
    rows = NearestBatch(str(result.folder), 2, str(shop.path))(block)
    assert rows.schema == NEAREST
    by_image: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        by_image.setdefault(row["image_id"], []).append(row)
    assert by_image.keys() == set(block["image_id"].to_pylist())
    assert [row["problem"] is not None for row in by_image["train-red-3"]] == [True]
    assert (by_image["train-blue-1"][0]["rank"], by_image["train-blue-1"][0]["item_id"]) == (1, "blue")
    assert all([row["rank"] for row in found] == [1, 2] for name, found in by_image.items() if name != "train-red-3")


@pytest.mark.parametrize("views", [1, 2])
def test_cosines_are_counted_in_float32_beside_a_bfloat16_network(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    mixed, forward = list[bool](), MetricHead.forward

    def watched(head: MetricHead, e_BD: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
        mixed.append(torch.is_autocast_enabled(e_BD.device.type))
        return forward(head, e_BD, targets_B)

    monkeypatch.setattr(MetricHead, "forward", watched)
    fit(shop, tmp_path, config(epochs=1, precision="bfloat16", margin=0.1, views=views))
    assert mixed
    assert not any(mixed)


@pytest.mark.parametrize(("views", "plain"), [(1, [False, False, False, True]), (2, [False] * 4)])
def test_the_last_epochs_see_pictures_as_they_are(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int, plain: list[bool]
) -> None:
    seen, settle = list[bool](), EmbeddingStage.settle

    def watched(stage: EmbeddingStage) -> None:
        seen.append(stage.augmentation is stage.plain)
        settle(stage)

    monkeypatch.setattr(EmbeddingStage, "settle", watched)
    monkeypatch.setattr(embedding_stage, "FEWEST_STEPS", 1)
    fit(shop, tmp_path, config(epochs=4, views=views, augmentation={"plain_finish": 0.25}))
    assert seen == plain


@pytest.mark.parametrize(("each", "best"), [(1, 3), (12, 2)])
def test_the_later_of_alike_epochs_is_kept_where_validation_is_of_pictures_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int, best: int
) -> None:
    scores = iter((0.5, 1.0, 0.995, 0.98))
    monkeypatch.setattr(EmbeddingStage, "judge", lambda _: next(scores))
    monkeypatch.setattr(embedding_stage, "FEWEST_STEPS", 1)
    shop = make_picture_shop(tmp_path / "shop", each=each, tests=1)
    notes = fit(shop, tmp_path / "run", config(epochs=4)).notes
    assert any(f"4 epochs, best {best};" in note for note in notes)
