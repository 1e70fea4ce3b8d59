"""An item's content as a sparse vector of hashed tokens, and its nearest neighbours by it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

BUCKETS = 1 << 18
LONGEST_TEXT = 2_000
QUERIES_PER_BLOCK = 1_024
COMMON_ITEMS, COMMON_SHARE = 500, 0.02
PRICE_BANDS_PER_DOUBLING = 2
_WORD = re.compile(r"\w+")


def content_tokens(item: Mapping[str, Any]) -> Iterator[str]:
    """The tokens of an item's title, description, category path, brand, attributes, tags and price band."""
    for field in ("title", "description"):
        for word in _WORD.findall(str(item.get(field) or "")[:LONGEST_TEXT].lower()):
            yield f"word:{word}"
    for level in item.get("category") or ():
        yield f"category:{level}"
    if item.get("brand"):
        yield f"brand:{item['brand']}"
    attributes = item.get("attributes") or {}
    for name, value in attributes.items() if isinstance(attributes, Mapping) else attributes:
        yield f"attribute:{name}={value}"
    for tag in item.get("tags") or ():
        yield f"tag:{tag}"
    price = item.get("price")
    if price is not None and price > 0:
        yield f"price:{round(PRICE_BANDS_PER_DOUBLING * math.log2(price))}"


def item_text(item: Mapping[str, Any]) -> str:
    """What a sentence encoder reads of an item: title, category path, brand, tags and description."""
    parts = (
        item.get("title"), " > ".join(item.get("category") or ()), item.get("brand"), ", ".join(item.get("tags") or ()),
        str(item.get("description") or "")[:LONGEST_TEXT],
    )  # fmt: skip
    return ". ".join(part for part in parts if part)


def hashed(items: Iterable[Mapping[str, Any]]) -> sparse.csr_matrix:
    """counts_IH: 1 where an item has a token of the bucket."""
    buckets: list[int] = []
    ends = [0]
    for item in items:
        buckets.extend({zlib.crc32(token.encode()) % BUCKETS for token in content_tokens(item)})
        ends.append(len(buckets))
    ones = np.ones(len(buckets), np.float32)
    matrix = sparse.csr_matrix((ones, buckets, ends), shape=(len(ends) - 1, BUCKETS), dtype=np.float32)
    matrix.sort_indices()
    return matrix


def shared_buckets(counts_IH: sparse.csr_matrix, least: int) -> npt.NDArray[np.int64]:
    """buckets_F that at least `least` items share."""
    return np.flatnonzero(np.bincount(counts_IH.indices, minlength=counts_IH.shape[1]) >= least)


def rarity(counts_IH: sparse.csr_matrix) -> npt.NDArray[np.float32]:
    """weights_H: the inverse document frequency of each bucket.

    A token that no item had weighs nothing, nor one that very many share: it would make all items neighbours.
    """
    frequency = np.bincount(counts_IH.indices, minlength=counts_IH.shape[1])
    most = max(COMMON_ITEMS, COMMON_SHARE * counts_IH.shape[0])
    weights = np.log((1 + counts_IH.shape[0]) / np.maximum(frequency, 1)) * ((frequency > 0) & (frequency <= most))
    return weights.astype(np.float32)


def normalised(counts_IH: sparse.csr_matrix, weights_H: npt.NDArray[np.float32]) -> sparse.csr_matrix:
    """Rows weighted by `weights_H` and of length 1 (or empty)."""
    weighted = (counts_IH @ sparse.diags(weights_H)).tocsr().astype(np.float32)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)))[:, 0]
    return (sparse.diags(1.0 / np.maximum(norms, 1e-12)).astype(np.float32) @ weighted).tocsr()


def nearest_columns(
    queries_QH: sparse.csr_matrix, known_HI: sparse.csr_matrix, neighbours: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """codes_QK of the known items most like each query and their cosines, 0 where there are fewer; ties by code."""
    codes_QK = np.zeros((queries_QH.shape[0], neighbours), np.int32)
    cosines_QK = np.zeros((queries_QH.shape[0], neighbours), np.float32)
    for first in range(0, queries_QH.shape[0], QUERIES_PER_BLOCK):
        found = (queries_QH[first : first + QUERIES_PER_BLOCK] @ known_HI).tocsr()
        for row, (start, end) in enumerate(pairwise(found.indptr)):
            codes, cosines = found.indices[start:end], found.data[start:end]
            if len(codes) > neighbours:
                near = cosines >= np.partition(cosines, -neighbours)[-neighbours]
                codes, cosines = codes[near], cosines[near]
            best = np.lexsort((codes, -cosines))[:neighbours]
            codes_QK[first + row, : len(best)] = codes[best]
            cosines_QK[first + row, : len(best)] = cosines[best]
    return codes_QK, cosines_QK
