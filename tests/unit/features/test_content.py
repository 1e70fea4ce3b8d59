from __future__ import annotations

import numpy as np

from training.features.content import content_tokens, hashed, nearest_columns, normalised, rarity

LAMP = {"title": "Desk lamp", "category": ["Home", "Light"], "brand": "Lux", "price": 20.0, "tags": ["new"]}
BULB = {"title": "Light bulb", "category": ["Home", "Light"], "brand": "Lux", "price": 5.0}
SHOE = {"title": "Running shoe", "category": ["Sport"], "attributes": [("colour", "red")], "price": None}


def test_every_field_speaks() -> None:
    assert set(content_tokens(LAMP)) >= {"word:desk", "category:Light", "brand:Lux", "tag:new", "price:9"}
    assert "attribute:colour=red" in set(content_tokens(SHOE))
    assert list(content_tokens({"item_id": "x", "title": None, "price": float("nan")})) == []


def test_the_nearest_shares_the_rarest() -> None:
    counts = hashed([LAMP, BULB, SHOE])
    weights = rarity(counts)
    known = normalised(counts, weights)
    assert np.allclose(np.sqrt(known.multiply(known).sum(axis=1)), 1.0)
    query = normalised(hashed([{"title": "lamp", "brand": "Lux"}, {}]), weights)
    codes, cosines = nearest_columns(query, known.T.tocsr(), 2)
    assert codes[0].tolist() == [0, 1]
    assert cosines[0, 0] > cosines[0, 1] > 0
    assert cosines[1].tolist() == [0.0, 0.0]
