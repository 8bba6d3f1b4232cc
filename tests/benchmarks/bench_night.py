"""What a night with 50,000 new observations costs the features of a whole history, beside building all of them."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.benchmarks.row import Row

if TYPE_CHECKING:
    from flows.house import House

PATIENTS, ONE_IN = 100_000, 12  # one patient in 12 has six results that came late: 50,000
USE_CASE = "readmission_30d"
MOST_OF_A_REBUILD = 0.5


def rows() -> Iterator[Row]:
    """Yield the ratio of CPU time; each side is a process of its own over the same lake."""
    with TemporaryDirectory() as name:
        home = Path(name) / "home"
        _side("first", home)
        night, nothing, rebuilt = (_side(side, home) for side in ("night", "nothing", "rebuild"))
        yield Row(
            what="the same, with opening the lake and finding the discharges",
            figure=night["whole"] / rebuilt["whole"],
            unit="x CPU time",
            detail=f"{night['whole']:.1f} and {rebuilt['whole']:.1f} CPU s; where nothing came {nothing['whole']:.1f}",
        )
        yield Row(
            what=f"features of {PATIENTS:,} patients after 50,000 late results / built anew",
            figure=night["cpu"] / rebuilt["cpu"],
            unit="x CPU time",
            bound=MOST_OF_A_REBUILD,
            is_bound="at most",
            detail=f"{night['rows']:,.0f} of {rebuilt['rows']:,.0f} rows of views computed; "
            f"{night['cpu']:.1f} and {rebuilt['cpu']:.1f} CPU s; where nothing came {nothing['cpu']:.1f}",
        )


def _side(side: str, home: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_night", side, str(home)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _run(side: str, home: Path) -> dict[str, float]:
    from tests.benchmarks.large_hospital import house_of, write_hospital

    house = house_of(home, bucket_count=4)
    if side == "first":
        write_hospital(house, PATIENTS)
    elif side == "night":
        _come_late(house)
    elif side == "rebuild":
        shutil.rmtree(house.settings.features)
    return _built(house)


def _come_late(house: "House") -> None:
    """Results within the stay that an extract of history brings: they count for the discharge of their patient."""
    from integrations.duck import connect
    from tests.benchmarks.large_hospital import NIGHT, WITHOUT_LAB, note_snapshot, write

    with connect(house.settings.temp) as connection:
        people = f"select p * {ONE_IN} as p from range({PATIENTS // ONE_IN}) as t (p)"
        connection.execute(f"create temp view person as {people}")
        again = WITHOUT_LAB["observation"].replace("'demo_ehr/o'", "'demo_ehr/late'")
        write(house, connection, "observation", "x-night", again)
    note_snapshot(house, NIGHT)


def _built(house: "House") -> dict[str, float]:
    """Bring the features of every discharge up to date; what is counted is the time of that, not of finding them."""
    import pyarrow.acero  # noqa: F401 - both sides need it, and neither is it

    from flows.build_features import compute
    from flows.due import Round
    from models.cohort import cohort, eligible
    from tests.benchmarks.large_hospital import NIGHT

    this, spent, computed, first = Round.of(house, USE_CASE, as_of=NIGHT), 0.0, 0, time.process_time()
    for part in house.parts(this.snapshot):
        spine = eligible(cohort(house.open_snapshot(this.snapshot, part), this.case, NIGHT))
        begin = time.process_time()
        computed += compute(house, this, part, spine)
        spent += time.process_time() - begin
    return {"cpu": spent, "whole": time.process_time() - first, "rows": computed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))))
