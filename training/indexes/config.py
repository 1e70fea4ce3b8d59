"""How the vector index is built and searched: one config for every kind."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["exact", "hnsw", "ivf_pq"]


class IndexConfig(BaseModel):
    """The kind of index, by the size of the catalogue where it is `auto`, and what each kind spends on recall.

    `auto` takes no graph unless `hnsw_up_to` says so: at 100,000 items tests/bench/index_scale.py found it to find less
    than IVF-PQ at the same latency, from twice the work of building and nearly twice the bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["auto", "exact", "hnsw", "ivf_pq"] = Field(
        default="auto", description="auto: exact, then ivf_pq as the catalogue is larger"
    )
    exact_up_to: int = Field(default=200_000, ge=0, description="items that auto still searches exactly")
    hnsw_up_to: int = Field(default=0, ge=0, description="items beyond exact_up_to that auto puts into a graph")
    hnsw_m: int = Field(default=32, ge=2, le=256, description="links of a vector; 8 bytes each")
    hnsw_ef_construction: int = Field(default=200, ge=8, le=4096, description="candidates looked at for its links")
    hnsw_ef_search: int = Field(default=320, ge=8, le=65_536, description="candidates that a search keeps")
    ivf_nlist: int | None = Field(
        default=None, ge=1, description="inverted lists; by default 4 x the root of the items"
    )
    ivf_nprobe: int = Field(default=128, ge=1, description="lists that a search reads")
    pq_bytes: int = Field(default=32, ge=1, le=256, description="code of a vector, at most; must divide its dimensions")
    refine_factor: float = Field(default=4.0, ge=1, description="codes ranked anew by their vectors, times k")
    refine_dtype: Literal["float32", "float16"] = Field(
        default="float32", description="of the vectors behind the codes; float16 halves them and rounds scores by 5e-4"
    )
    exact_below: int = Field(default=5_000, ge=0, description="allowed items that are searched exactly, in every kind")
    exact_below_share: float = Field(default=0.02, ge=0, le=1, description="the same as a share of the index")
    rebuild_dead_share: float = Field(default=0.2, gt=0, le=1, description="of dead vectors, above which it is rebuilt")
    rebuild_dead_least: int = Field(default=1_000, ge=1, description="dead vectors that are never worth a rebuild")
    seed: int = Field(default=0, ge=0, description="of the clusterings")

    def kind_for(self, items: int) -> Kind:
        """The kind that a catalogue of this size gets."""
        if self.kind != "auto":
            return self.kind
        if items <= self.exact_up_to:
            return "exact"
        return "hnsw" if items <= self.hnsw_up_to else "ivf_pq"
