"""The recommender job on a shop whose next item follows from the last one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.errors import InputError, ShopkeeperError
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.jobs.job import FitResult, LocalReport
from training.jobs.publish import publish
from training.jobs.recommender import JOB, RecommenderConfig, RecommenderData, fit, load
from training.jobs.registry import JOBS
from training.models.recommender import Recommender
from training.report import write_report

START = datetime(2026, 1, 1, tzinfo=UTC)
USERS, ITEMS = 250, 30
SMALL = {
    "transformer": {"dim": 16, "dropout": 0.1, "max_len": 20},
    "epochs": 12,
    "learning_rate": 0.01,
    "tokens_per_step": 200,
    "id_dropout": 0.0,
}


def config(**changes: object) -> RecommenderConfig:
    return RecommenderConfig.model_validate({**SMALL, **changes})


class Watched:
    """Units done and their totals, by stage."""

    def __init__(self) -> None:
        self.totals: dict[str, int | None] = {}
        self.done: dict[str, int] = {}

    def stage(self, label: str, total: int | None = None) -> None:
        self.totals[label], self.done[label] = total, 0

    def advance(self, units: int = 1) -> None:
        self.done[[*self.done][-1]] += units


def write_shop(path: Path, users: Mapping[str, list[str]], items: list[str], shop_id: str = "chain") -> Shop:
    info = ShopInfo(shop_id=shop_id, reference_date=START + timedelta(days=9), positive_types=("view",), repeats=False)
    rows = [(user, item, place) for user, history in users.items() for place, item in enumerate(history)]
    with new_shop(path, info) as writer:
        if items:
            titles = [f"article of family {int(item[1:]) % 3}" for item in items]
            writer.write("items", pa.table({"item_id": items, "title": titles}))
        writer.write(
            "events",
            pa.table(
                {
                    "event_id": [f"e{n}" for n in range(len(rows))],
                    "user_id": [user for user, _, _ in rows],
                    "type": ["view"] * len(rows),
                    "item_id": [item for _, item, _ in rows],
                    "timestamp": [START + timedelta(minutes=place) for _, _, place in rows],
                }
            ),
        )
    return Shop(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    rng = np.random.default_rng(0)
    users = {}
    for user in range(USERS):
        item, history = int(rng.integers(ITEMS)), []
        for _ in range(int(rng.integers(4, 12))):
            history.append(f"i{item:02d}")
            item = (item + 7) % ITEMS if rng.random() < 0.85 else int(rng.integers(ITEMS))
        users[f"u{user:03d}"] = history
    users["short"] = ["i01", "i02"]
    users["lost"] = ["i01", "gone", "i03", "i04"]
    return write_shop(tmp_path_factory.mktemp("chain") / "shop", users, [f"i{n:02d}" for n in range(ITEMS)] + ["i99"])


@pytest.fixture(scope="module")
def data(shop: Shop) -> RecommenderData:
    return load(shop, config())


@pytest.fixture(scope="module")
def result(data: RecommenderData, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    folder = tmp_path_factory.mktemp("run")
    return fit(config(), data, LocalReport(folder / "checkpoints"), folder / "bundle")


def test_the_transformer_learns_the_chain(result: FitResult) -> None:
    assert result.model == "sequence_transformer"
    assert result.metrics["ndcg@10"] > 0.5 > result.baselines["popularity"]["ndcg@10"]
    assert set(result.baselines) == {"popularity", "item_knn", "matrix_factorisation"}
    names = {"hr@5", "hr@10", "ndcg@5", "ndcg@10", "mrr", "coverage@10", "tail_share@10"}
    assert names <= set(result.metrics)
    assert names == set(result.validation)
    assert result.examples_per_second > 0
    assert [line["epoch"] for line in result.curve] == list(range(1, len(result.curve) + 1))
    assert sum(bin_["users"] for bin_ in result.bins["popularity"].values()) == USERS + 1


def test_what_was_dropped_is_said(result: FitResult) -> None:
    said = "\n".join(result.notes)
    assert "1 events dropped" in said
    assert "1 users with fewer than 3 positive events" in said
    assert "tokens per CPU-second" in said


def test_the_bundle_serves_and_is_evaluated_as_trained(result: FitResult, shop: Shop) -> None:
    recommender = Recommender.load(result.folder)
    slots, _ = recommender.retrieve([["i05", "i12"]], 3)
    assert recommender.item_ids[slots[0][0]] == "i19"
    assert recommender.slot("i99") is not None
    again = JOBS["recommender"].evaluate(result.folder, shop)
    assert again["metrics"]["ndcg@10"] == pytest.approx(result.metrics["ndcg@10"], abs=1e-6)
    assert again["baselines"] == result.baselines
    assert FitResult.model_validate_json(result.model_dump_json()) == result


def test_a_published_bundle_is_evaluated_with_its_own_config(result: FitResult, shop: Shop, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "bundles")
    manifest = publish(
        result, job="recommender", shop=shop, config=config(train_split="train_10"), store=store,
        registry=Registry(tmp_path / "releases", "chain"),
    )  # fmt: skip
    folder = store.fetch("chain", "recommender", manifest.version)
    with pytest.raises(InputError, match="no event has this split"):
        JOB.evaluate(folder, shop)
    other = write_shop(tmp_path / "other", {"v": ["i05", "i08", "i01"]}, [], shop_id="other")
    watched = Watched()
    assert JOB.evaluate(folder, other, progress=watched)["metrics"]["hr@10"] >= 0.0
    assert watched.done["evaluation on test"] == watched.totals["evaluation on test"] == 4
    assert watched.done["baselines"] == watched.totals["baselines"]


def test_a_bundle_is_evaluated_on_another_shop(result: FitResult, tmp_path: Path) -> None:
    users = {f"v{n}": ["i05", "i08", "new", f"i{n:02d}"] for n in range(10)}
    other = write_shop(tmp_path / "other", users, [f"i{n:02d}" for n in range(10)])
    found = JOB.evaluate(result.folder, other)
    assert 0.0 <= found["metrics"]["ndcg@10"] <= 1.0


def test_only_the_split_asked_for_is_trained_on(shop: Shop, tmp_path: Path) -> None:
    events = shop.table("events")
    part = [("train_10" if user < "u025" else "train") for user in events["user_id"].to_pylist()]
    info = shop.info.model_copy(update={"shop_id": "parts"})
    with new_shop(tmp_path / "parts", info) as writer:
        writer.write("events", events.set_column(events.column_names.index("split"), "split", pa.array(part)))
    parts = Shop(tmp_path / "parts")
    assert len(load(parts, config(train_split="train_10")).histories) < 30 < len(load(parts, config()).histories)
    with pytest.raises(InputError) as refused:
        load(parts, config(train_split="train_1"))
    assert refused.value.problems[0].nearest == "train_10"


def test_the_report_is_one_page(result: FitResult, tmp_path: Path) -> None:
    noted = result.model_copy(update={"notes": ("<script>alert(1)</script>",)})
    page = write_report(noted, tmp_path / "report.html", job="recommender", config=config()).read_text()
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "matrix_factorisation" in page
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_killed_training_goes_on_as_if_nothing_had_been(data: RecommenderData, tmp_path: Path) -> None:
    straight, watched = LocalReport(tmp_path / "straight"), Watched()
    whole = fit(config(epochs=4), data, straight, tmp_path / "a", progress=watched)
    assert watched.done == watched.totals
    assert watched.done["transformer steps, at most"] > 20
    fit(config(epochs=2), data, LocalReport(tmp_path / "killed"), tmp_path / "b")
    resumed = LocalReport(tmp_path / "killed")
    assert resumed.resume_from == tmp_path / "killed" / "epoch-002"
    rest = fit(config(epochs=4), data, resumed, tmp_path / "c")
    assert [line["epoch"] for line in resumed.history] == [3.0, 4.0]
    assert [line["loss"] for line in resumed.history] == [line["loss"] for line in straight.history[2:]]
    assert rest.metrics == whole.metrics
    assert any("went on after epoch 2" in note for note in rest.notes)
    assert not any("went on" in note for note in whole.notes)
    assert len(rest.curve) == 4
    assert rest.train_seconds > sum(line["seconds"] for line in rest.curve)
    assert rest.cpu_seconds > sum(line["train_cpu_s"] for line in rest.curve)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["epoch-003", "epoch-004"]


def test_sampled_softmax_learns_too(data: RecommenderData, tmp_path: Path) -> None:
    sampled = config(full_softmax_items=0, negatives=200)
    found = fit(sampled, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    assert found.model == "sequence_transformer"
    assert found.metrics["ndcg@10"] > 0.5


def test_a_model_worse_than_its_baselines_is_not_bundled(data: RecommenderData, tmp_path: Path) -> None:
    untrained = config(epochs=1, learning_rate=1e-9)
    found = fit(untrained, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    assert found.model in found.baselines
    assert found.model == max(found.baselines, key=lambda name: found.baselines[name]["ndcg@10"])
    assert Recommender.load(found.folder).retriever.kind == found.model


def test_a_loss_that_is_not_a_number_stops_the_run(data: RecommenderData, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    fit(config(epochs=1), data, LocalReport(folder), tmp_path / "bundle")
    with pytest.raises(ShopkeeperError, match="at epoch 2, step 2"):
        fit(config(epochs=3, learning_rate=1e30), data, LocalReport(folder), tmp_path / "never")
    assert (folder / "epoch-001").is_dir()
    assert not (tmp_path / "never").exists()


def test_the_time_limit_holds(data: RecommenderData, tmp_path: Path) -> None:
    found = fit(config(max_train_s=1e-6), data, LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    assert len(found.curve) == 1


@pytest.mark.parametrize("history", [["i00"], ["i00", "i01"], ["i00", "i01", "i00", "i02"]])
def test_a_tiny_shop_is_served_all_the_same(history: list[str], tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", {"only": history}, [])
    found = fit(config(epochs=2), load(shop, config()), LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    recommender = Recommender.load(found.folder)
    assert len(recommender.retrieve([[], history], 5)[0]) == 2


def test_a_shop_without_interest_is_refused(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", {"only": ["gone"]}, ["i00"])
    with pytest.raises(InputError, match="nothing to learn from"):
        load(shop, config())
