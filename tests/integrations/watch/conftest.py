"""Feeds of the synthetic hospital that are watched over many nights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integrations.records import open_records
from integrations.synthetic_hospital.hospital import Hospital
from tests.integrations.watch.nights import Nights, open_nights

OpenFeed = Callable[[str, Hospital], Nights]


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[OpenFeed]:
    """`feed("demo_lis", Hospital(...))` is that feed, with records of its own."""
    opened: list[Nights] = []

    def open_feed(source: str, hospital: Hospital) -> Nights:
        folder = tmp_path / f"{source}-{len(opened)}"
        folder.mkdir()
        opened.append(open_nights(source, hospital, open_records(f"sqlite:///{folder / 'records.db'}"), folder))
        return opened[-1]

    yield open_feed
    for each in opened:
        each.connection.close()
        each.records.close()
