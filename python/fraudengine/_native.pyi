"""The native engine. This stub is the contract; stubtest holds it against the binary.

Use `fraudengine.engine`, `fraudengine.features` and their neighbours: they carry the documentation.
"""

from pathlib import Path
from typing import Any, final

import polars as pl

__version__: str

def catalogue_features() -> list[tuple[str, str, str, str, str, str]]: ...
def catalogue_hash() -> str: ...

@final
class Engine:
    def __new__(
        cls,
        *,
        lateness_micros: int = 3_600_000_000,
        entities_max: int = 8_388_608,
        reference_currency: str = "EUR",
        rates: dict[str, int] | None = None,
        threads: int = 1,
    ) -> Engine: ...
    @staticmethod
    def restore(
        snapshot: bytes,
        *,
        reference_currency: str = "EUR",
        rates: dict[str, int] | None = None,
        threads: int = 1,
    ) -> Engine: ...
    def snapshot(self) -> bytes: ...
    def activate(
        self,
        ensemble: bytes,
        *,
        slope: float,
        intercept: float,
        review_from: float,
        block_from: float,
        backend: str = "auto",
        booster_library: Path | None = None,
        forest_library: Path | None = None,
    ) -> str: ...
    def process(
        self, transactions: pl.DataFrame, labels: pl.DataFrame | None = None, *, features: bool = False
    ) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
