"""The benchmark of visual search runs end to end over a real socket, without Ray and in a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tests.serving_shop import serve_in_process, wait_until

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import visual_search_latency

    found: ModuleType = visual_search_latency
    return found


class RunningServer:
    """uvicorn in a thread, on a free port."""

    def __init__(self, api: FastAPI) -> None:
        self.server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, timeout_s=60)

    @property
    def url(self) -> str:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1/visual-search"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def url(bench: ModuleType, tmp_path: Path) -> Iterator[str]:
    bench.publish_shop(bench.untrained(images=50), tmp_path)
    serving = serve_in_process(bench.serving_config(tmp_path, watch_period_s=0.02))
    serving.load_champion()
    server = RunningServer(serving.api)
    yield server.url
    server.stop()
    serving.live.close()


def test_bench_measures_the_served_and_the_bare(bench: ModuleType, url: str) -> None:
    photos = bench.drawn_photos(2)
    bench.wait_for(url, bench.bodies(photos)[0], {})
    for body in bench.bodies(photos):
        assert len(httpx.post(url, json=body, timeout=60).json()["detections"]) == bench.ARTICLES + 1
    figures = bench.latency(url, bench.untrained(images=50), photos, 2.0, {})
    for name in ("bare", "bare_in_a_row"):
        assert 0 < figures[name]["decode_ms"] < figures[name]["forward_ms"] < figures[name]["sum_ms"]
    assert figures["p50_ratio"] == pytest.approx(figures["served"]["p50_ms"] / figures["bare"]["sum_ms"], abs=0.01)
    assert bench.passes(bench.untrained(images=50), photos)["together_ms"] > 0
