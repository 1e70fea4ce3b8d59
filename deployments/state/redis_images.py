"""Pictures in a Redis store: base64 in a hash per item, in the order of the catalogue's log."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from deployments.state.images import ALL, ImageEntry, Kept, judge

LOG, BYTES = "image_log", "image_bytes"


def write_images(
    pipe: Any, prefix: str, item_id: str, images: Mapping[str, bytes], seq: int, max_total_bytes: int
) -> tuple[list[Kept], int]:
    """What becomes of each once the pipe is executed, and the last number of the log then."""
    held = set(pipe.hkeys(_images(prefix, item_id)))
    total_bytes = int(pipe.get(prefix + BYTES) or 0)
    outcomes, fresh = judge(dict(images), held, total_bytes=total_bytes, max_total_bytes=max_total_bytes)
    pipe.multi()
    if fresh:
        texts = {image_id: base64.b64encode(data).decode() for image_id, data in fresh.items()}
        pipe.hset(_images(prefix, item_id), mapping=texts)
        pipe.zadd(prefix + LOG, {_member(item_id, image_id): seq + step for step, image_id in enumerate(fresh, 1)})
        pipe.incrby(prefix + BYTES, sum(map(len, fresh.values())))
    return outcomes, seq + len(fresh)


def read_dropped(pipe: Any, prefix: str, item_id: str) -> dict[str, int]:
    """Bytes of each picture of an item that is about to go."""
    texts = pipe.hgetall(_images(prefix, item_id))
    return {image_id: len(base64.b64decode(text)) for image_id, text in texts.items()}


def drop_images(pipe: Any, prefix: str, item_id: str, dropped: Mapping[str, int], seq: int) -> int:
    """Forget the item's pictures and log that, for those that bundles hold too; the last number of the log then."""
    if dropped:
        pipe.delete(_images(prefix, item_id))
        pipe.zrem(prefix + LOG, *(_member(item_id, image_id) for image_id in dropped))
        pipe.decrby(prefix + BYTES, sum(dropped.values()))
    pipe.zadd(prefix + LOG, {_member(item_id, ALL): seq + 1})
    return seq + 1


def images_since(client: Any, prefix: str, seq: int, limit: int) -> list[ImageEntry]:
    found = client.zrangebyscore(prefix + LOG, f"({seq}", "+inf", start=0, num=limit, withscores=True)
    entries = []
    for member, at in found:
        item_id, image_id = orjson.loads(member)
        text = None if image_id == ALL else client.hget(_images(prefix, item_id), image_id)
        if text is not None or image_id == ALL:
            data = None if text is None else base64.b64decode(text)
            entries.append(ImageEntry(int(at), item_id, image_id, data))
    return entries


def count_images(client: Any, prefix: str) -> int:
    return sum(orjson.loads(member)[1] != ALL for member in client.zrange(prefix + LOG, 0, -1))


def _images(prefix: str, item_id: str) -> str:
    return f"{prefix}images:{item_id}"


def _member(item_id: str, image_id: str) -> str:
    return orjson.dumps([item_id, image_id]).decode()
