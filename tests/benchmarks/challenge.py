"""The measures of the PhysioNet/CinC Challenge 2012, and SAPS-I as its peer on the same stays."""

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[Any]


def event_1(died: Flags, is_called: Flags) -> float:
    """The smaller of sensitivity and positive predictivity."""
    hits = float((died.astype(bool) & is_called.astype(bool)).sum())
    return min(hits / max(died.sum(), 1), hits / max(is_called.sum(), 1))


def best_threshold(died: Flags, risk: Floats) -> float:
    """The value from which on to call, so that event 1 is greatest on these stays."""
    order = np.argsort(-risk, kind="stable")
    hits, called = np.cumsum(died[order]), np.arange(1, len(risk) + 1)
    return float(risk[order][np.argmax(np.minimum(hits / max(died.sum(), 1), hits / called))])


def event_2(died: Flags, risk: Floats) -> float:
    """Hosmer and Lemeshow's H over tenths of the stays by risk, divided by the range of the mean risks of the tenths.

    As the Challenge computed it: with 0.001 added to each variance, and what is beyond ten equal tenths left out.
    """
    order = np.argsort(risk, kind="stable")
    count = len(risk) // 10
    tenths = order[: 10 * count].reshape(10, count)
    mean = risk[tenths].mean(axis=1)
    lack = (died[tenths].sum(axis=1) - count * mean) ** 2 / (count * mean * (1 - mean) + 0.001)
    return float(lack.sum() / (mean[-1] - mean[0]))


def outcomes(folder: Path) -> dict[str, dict[str, str]]:
    """What came of each stay of set a, by RecordID."""
    with (folder / "Outcomes-a.txt").open(encoding="utf-8", newline="") as file:
        return {row["RecordID"]: row for row in csv.DictReader(file)}


def unpack(folder: Path, target: Path, *, every: int = 1) -> list[str]:
    """Unpack every nth stay of set a, and return their RecordIDs."""
    target.mkdir(parents=True)
    taken = []
    with zipfile.ZipFile(folder / "set-a.zip") as envelope:
        for name in sorted(each for each in envelope.namelist() if each.endswith(".txt"))[::every]:
            (target / Path(name).name).write_bytes(envelope.read(name))
            taken.append(Path(name).stem)
    return taken
