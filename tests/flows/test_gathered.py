"""What a process gathers for the parts of a snapshot goes again: where it fails at once, else with the process."""

from pathlib import Path
from typing import Any

import pytest

from flows.house import House, Snapshot
from integrations.lake import Lake
from integrations.reading import WorkBuckets
from integrations.settings import Settings


def test_where_gathering_fails_nothing_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(Settings(home=tmp_path))
    house.lake.create()

    def full(_self: Lake, *_: Any, gather_into: Path, **__: Any) -> None:
        (gather_into / "observation.parquet").write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Lake, "find_linked", full)
    with pytest.raises(OSError, match="no space left"):
        house.open_snapshot(Snapshot(1, house.lake.versions()), WorkBuckets(4, (0,)))
    assert list(house.settings.temp.glob("moved-*")) == []
