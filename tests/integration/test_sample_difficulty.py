"""The small sample shop is neither trivial nor hopeless: what the truth, item-kNN and popularity reach on it."""

from __future__ import annotations

import pytest

from training.contracts.shop import Shop
from training.datasets.sample import generate, oracle_metrics
from training.features.sequences import interest_histories, leave_one_out
from training.features.vocabulary import Vocabulary
from training.jobs.evaluation import evaluate
from training.models.item_knn import ItemKnn
from training.models.popularity import Popularity, training_counts
from training.models.retriever import Retriever

TEST_USERS = 2_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    out = tmp_path_factory.mktemp("difficulty") / "shop"
    counts = generate(out, size="small", seed=0, images=False)
    assert (counts["items"], counts["users"]) == (2_000, 5_000)
    assert 150_000 <= counts["events"] <= 230_000
    return Shop(out)


def test_item_knn_reaches_40_to_75_percent_of_the_oracle(shop: Shop) -> None:
    events = shop.table("events", ["user_id", "type", "item_id", "timestamp"])
    vocabulary = Vocabulary(shop.table("items", ["item_id"])["item_id"].to_pylist())
    split = leave_one_out(interest_histories(events, vocabulary, shop.info.positive_types))
    counts = training_counts(split.train, len(vocabulary))

    def ndcg(retriever: Retriever) -> float:
        return evaluate(retriever.score, split.test, counts, repeats=True).metrics["ndcg@10"]

    fitted = ItemKnn.fit(split.train, len(vocabulary), neighbours=200, shrinkage=10.0)
    knn = max(ndcg(fitted.with_decay(decay)) for decay in (0.5, 0.8))
    oracle = oracle_metrics(shop.path, max_users=TEST_USERS)["ndcg@10"]
    assert 0.15 < oracle < 0.5
    assert 0.40 < knn / oracle < 0.75
    assert ndcg(Popularity.fit(split.train, len(vocabulary))) < 0.15 * oracle
