"""The item tower: what an item is without training, without an id, and among other items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from training.models.dropout import RowDropout
from training.models.item_content import ItemContent

ITEMS, DIM = 12, 8
FEATURES_IF = sparse.random(ITEMS, 5, 0.5, format="csr", dtype=np.float32, random_state=0)
TEXT_IT = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)


def content(*, features: bool = True, text: bool = True, id_dropout: float = 0.0, trained: bool = True) -> ItemContent:
    torch.manual_seed(0)
    made = ItemContent(
        DIM,
        features_IF=FEATURES_IF if features else None,
        text_IT=TEXT_IT if text else None,
        id_dropout=id_dropout,
    )
    if trained:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


def own() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(ITEMS, DIM)).astype(np.float32))


def test_before_training_an_item_is_its_id() -> None:
    assert torch.equal(content(trained=False)(own()), own())


@pytest.mark.parametrize(("features", "text"), [(True, False), (False, True), (True, True)])
def test_a_vector_does_not_depend_on_which_items_are_asked_for(features: bool, text: bool) -> None:
    made, codes_K = content(features=features, text=text), torch.tensor([7, 2, 11])
    torch.testing.assert_close(made(own()[codes_K], codes_K), made(own())[codes_K], rtol=0, atol=1e-5)


def test_an_item_without_an_id_has_a_vector_by_its_content() -> None:
    vectors_ID = content()(torch.zeros(ITEMS, DIM))
    assert (vectors_ID.norm(dim=1) > 0).all()


def test_ids_are_dropped_whole_and_in_training_only() -> None:
    dropout = RowDropout(0.5)
    dropout.rng = np.random.default_rng(0)
    assert torch.equal(dropout.eval()(own()), own())
    kept = dropout.train()(own())
    dropped_I = (kept == 0).all(dim=1)
    assert 0 < int(dropped_I.sum()) < ITEMS
    assert torch.equal(kept[~dropped_I], own()[~dropped_I])


def test_content_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="features, text or pictures"):
        content(features=False, text=False)
