"""What a patient costs and how much memory it takes, from ten thousand patients to a million."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from integrations.settings import Settings
from tests.benchmarks.row import Row, peak_mb

if TYPE_CHECKING:
    from flows.house import House

START, SIZES = 100, (10_000, 100_000, 1_000_000)
USE_CASE = "readmission_30d"
MOST_MB = 2_000
# What a patient may cost in a larger hospital, beside one of the smallest. What a hundred cost, all being imported, is
# to open a part and to plan its queries, whoever is in it: each part has that once, and it is taken off.
MOST_DEARER = 1.15
# The same where a laboratory knows everybody by a number of its own: the facts of one person lie in two places, so a
# lake of several parts must find out who is one person, and gather what lies elsewhere. A lake of one part need not.
MOST_DEARER_OF_TWO = 1.5
STEPS = ("features", "training set", "scoring")
RUNS = {START: 5, 10_000: 5, 100_000: 3}  # the shorter, the less sure: the one in the middle counts
DEFAULT_BUCKET_COUNT = Settings.model_fields["bucket_count"].default
PATIENTS_PER_BUCKET = 50_000  # as the settings advise
HOSPITALS = ("one feed", "two numbers")


def rows() -> Iterator[Row]:
    """Yield memory and CPU time per patient; each size and step is a process of its own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        step("model", folder / "model", 10_000)
        cost: dict[tuple[str, str, int], tuple[float, float]] = {}
        for hospital in HOSPITALS:
            for size in (START, *SIZES):
                home = folder / f"{hospital} {size}"
                step(hospital, home, size, str(folder / "model"))
                for each in STEPS:
                    found = _middle(each, home, size, folder / f"{hospital} {START}")
                    cost[hospital, each, size] = found["cpu"], found["parts"]
                    if size != START:
                        yield _peak(f"{each}, {hospital}", size, found)
                if size != START:
                    shutil.rmtree(home)
        home = folder / "few buckets"
        step(HOSPITALS[-1], home, SIZES[-1], str(folder / "model"), bucket_count=DEFAULT_BUCKET_COUNT)
        warm = folder / f"{HOSPITALS[-1]} {START}"
        found = step(STEPS[1], home, SIZES[-1], str(warm), bucket_count=DEFAULT_BUCKET_COUNT)
        yield _peak(f"{STEPS[1]}, {DEFAULT_BUCKET_COUNT} buckets", SIZES[-1], found)
    for each in STEPS:
        for hospital, most in zip(HOSPITALS, (MOST_DEARER, MOST_DEARER_OF_TWO), strict=True):
            yield _dearest(f"{each}, {hospital}", {size: cost[hospital, each, size] for size in (START, *SIZES)}, most)


def _dearest(name: str, cost: dict[int, tuple[float, float]], most: float) -> Row:
    """`cost`: the CPU seconds and the number of parts, for each size."""
    start = cost[START][0]
    whole = [f"{cost[size][0] / size * 1e6:.0f}" for size in SIZES]
    each = {size: (cost[size][0] - cost[size][1] * start) / size * 1e6 for size in SIZES}
    return Row(
        what=f"{name}: a patient of a larger hospital / of {SIZES[0]:,}",
        figure=max(each[size] for size in SIZES[1:]) / each[SIZES[0]],
        unit="x CPU time",
        bound=most,
        is_bound="at most",
        detail=f"{', '.join(f'{us:.0f}' for us in each.values())} CPU us a patient, and {start:.2f} s to open each of "
        f"{', '.join(f'{cost[size][1]:.0f}' for size in SIZES)} parts; with all that {', '.join(whole)}",
    )


def _middle(name: str, home: Path, size: int, warm: Path) -> dict[str, float]:
    """The median CPU time of several runs and the highest peak, each over a house of which nothing is kept yet."""
    found = []
    for _ in range(RUNS.get(size, 1)):
        again = home.with_name("again")
        shutil.copytree(home, again)
        found.append(step(name, again, size, str(warm)))
        shutil.rmtree(again)
    middle = sorted(found, key=lambda each: each["cpu"])[len(found) // 2]
    return {**middle, "peak_mb": max(each["peak_mb"] for each in found)}


def _peak(name: str, size: int, found: dict[str, float]) -> Row:
    return Row(
        what=f"{name}: {size:,} patients, peak memory",
        figure=found["peak_mb"],
        unit="MB",
        bound=MOST_MB,
        is_bound="at most",
        detail=f"{found['rows']:,.0f} rows, {found['cpu']:.1f} CPU s, {found['wall']:.0f} s",
    )


def step(name: str, home: Path, size: int, *more: str, bucket_count: int = 0) -> dict[str, float]:
    """Run one step of this bench in a process of its own; with as many buckets as advised, unless said otherwise."""
    buckets = bucket_count or max(DEFAULT_BUCKET_COUNT, -(-size // PATIENTS_PER_BUCKET))
    command = [sys.executable, "-m", "tests.benchmarks.bench_size", name, str(home), str(size), str(buckets), *more]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _run(name: str, home: Path, size: int, bucket_count: int, *more: str) -> dict[str, float]:
    from tests.benchmarks.large_hospital import house_of, write_hospital

    house = house_of(home, bucket_count)
    if name in STEPS:
        _warmed(name, Path(more[0]))
    begin, wall = time.process_time(), time.monotonic()
    if name in HOSPITALS:
        adopt(Path(more[0]), home)
        write_hospital(house, size, has_lab=name != HOSPITALS[0])
        row_count = size
    else:
        row_count = WORK[name](house)
    return {
        "cpu": time.process_time() - begin,
        "wall": time.monotonic() - wall,
        "peak_mb": peak_mb(),
        "rows": row_count,
        "parts": len(house.parts(house.newest_snapshot())),
    }


def _warmed(name: str, small: Path) -> None:
    """Import all that a step needs, by doing it over a small house of which nothing is kept."""
    from tests.benchmarks.large_hospital import house_of

    with TemporaryDirectory() as folder:
        WORK[name](house_of(Path(shutil.copytree(small, Path(folder) / "small")), DEFAULT_BUCKET_COUNT))


def _model(house: "House") -> int:
    """Register a version, so that there is something to score by."""
    from flows.train import train
    from tests.benchmarks.large_hospital import TAKEN_AT, write_hospital

    write_hospital(house, 10_000)
    os.environ["ROUNDS_HOME"] = str(house.settings.home)
    return int(train.fn(USE_CASE, as_of=TAKEN_AT).row_count)


def adopt(model: Path, home: Path) -> None:
    """Take over the records and the version of a small house; its lake stays where it is."""
    home.mkdir()
    shutil.copy(model / "records.db", home)
    shutil.copytree(model / "mlflow", home / "mlflow")


def _features(house: "House") -> int:
    """The features of everybody who was ever due, computed and kept."""
    from flows.build_features import build_part
    from flows.due import Round
    from flows.parts import in_parts
    from tests.benchmarks.large_hospital import TAKEN_AT

    this = Round.of(house, USE_CASE, as_of=TAKEN_AT, version=1, all_due=True)
    return sum(in_parts(house, build_part, this))


def _learn(house: "House") -> int:
    """Labels and features of all rows whose outcome is known, part after part, put together as for a training."""
    from flows.due import Round
    from flows.parts import in_parts
    from flows.train import learn_part, scratch_folder, training_frame
    from tests.benchmarks.large_hospital import TAKEN_AT

    this = Round.of(house, USE_CASE, as_of=TAKEN_AT)
    with scratch_folder(house, "train-bench") as scratch:
        return int(training_frame(in_parts(house, learn_part, this, scratch)).num_rows)


def _score(house: "House") -> int:
    """Everybody who was ever due, scored silently: features anew, as though nothing had been learnt from them."""
    from flows.due import Round
    from flows.run_log import recorded_run
    from flows.score import score_round
    from tests.benchmarks.large_hospital import TAKEN_AT

    this = Round.of(house, USE_CASE, as_of=TAKEN_AT, version=1, all_due=True)
    with recorded_run(house, "score", as_of=TAKEN_AT, use_case=USE_CASE) as run_id:
        return score_round(house, this, run_id, dry_run=False).new_scores


WORK = {"model": _model, "features": _features, "training set": _learn, "scoring": _score}

if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(_run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:]))
    )
