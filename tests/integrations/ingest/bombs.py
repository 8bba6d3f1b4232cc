"""`python -m tests.integrations.ingest.bombs HOME NAMES`: what could bring an ingest down, and what came of it.

Each bomb is taken in by a process of its own, forked from one that has imported everything, on its own copy of a home;
one whose name begins with `broken-` meets a door without guards. One JSON line each: what came of it, and how many
megabytes the process had at its peak.
"""

import gzip
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deltalake  # noqa: F401  what an ingest imports is imported before the fork

import integrations.fhir.staging  # noqa: F401
from integrations.errors import Refused
from integrations.fhir import heavy, lines
from integrations.ingest import set_aside  # noqa: F401
from integrations.sent import Unpacking
from tests.integrations.ingest.conftest import WARD, Ward, open_home, result

MIB, BROKEN = 1 << 20, "broken-"
LIMITS = "limits: {largest_unpacked: 50MB, largest_file: 150MB, most_files: 1000}\n"
GOOD = json.dumps(result("good")).encode() + b"\n"
DEEP = {"list": (b"[", b"]"), "object": (b'{"a":', b"}"), "extension": (b'{"extension":[', b"]}")}
POSITIONS = ("extension", "contained", "unknown", "code", "component", "id")


def small(folder: Path) -> None:
    """No bomb: the measure of what an ingest takes anyway."""
    _write(folder, [GOOD])


def blank_lines_packed_a_thousand_to_one(folder: Path) -> None:
    with gzip.open(folder / "Observation.ndjson.gz", "wb") as file:
        file.writelines([GOOD, *[b"\n" * MIB] * 16])


def one_line_packed_a_thousand_to_one(folder: Path) -> None:
    with gzip.open(folder / "Observation.ndjson.gz", "wb") as file:
        file.writelines([GOOD, *[b"x" * MIB] * 40])


def packed_beyond_the_limit(folder: Path) -> None:
    with gzip.open(folder / "Observation.ndjson.gz", "wb", compresslevel=1) as file:
        file.writelines([GOOD, *[b"\n" * MIB] * 60])


def a_file_beyond_the_limit(folder: Path) -> None:
    with (folder / "Observation.ndjson").open("wb") as file:
        file.truncate(151 * MIB)


def one_line_of_96_mib(folder: Path) -> None:
    _one_line(folder, 96)


def one_line_of_1_gib(folder: Path) -> None:
    (folder.parent / "sources" / "ward" / "contract.yaml").write_text(WARD)
    _one_line(folder, 1024)


def _one_line(folder: Path, mib: int) -> None:
    with (folder / "Observation.ndjson").open("wb") as file:  # zeros, so that the disk need not hold them
        file.write(GOOD + b'{"resourceType":"Observation","id":"long","note":"')
        file.seek(mib * MIB, os.SEEK_CUR)
        file.write(b'"}\n' + json.dumps(result("good2")).encode())


def a_line_of_31_mib_that_is_within_the_limit(folder: Path) -> None:
    line = json.dumps(result("photo", note=[{"text": "x" * (31 * MIB)}])).encode() + b"\n"
    _write(folder, [GOOD, line])


def bad_lines_of_8_mib(folder: Path) -> None:
    _write(folder, [GOOD, *[b'{"resourceType":"Observation","note":"' + b"x" * (8 * MIB) + b'"}\n'] * 4])


def lines_full_of_values(folder: Path) -> None:
    objects = json.dumps(result("full", contained=["?"])).encode()
    _write(folder, [GOOD, *[objects.replace(b'"?"', b'{"a":1},' * 250 + b"1") + b"\n"] * 8000])


def lines_of_numbers(folder: Path) -> None:
    numbers = json.dumps(result("full", contained=["?"])).encode()
    _write(folder, [GOOD, *[numbers.replace(b'"?"', b"1," * 900 + b"1") + b"\n"] * 8000])


def large_lines_full_of_values(folder: Path) -> None:
    objects = json.dumps(result("full", contained=["?"])).encode()
    _write(folder, [GOOD, *[objects.replace(b'"?"', b'{"a":1},' * (MIB // 8) + b"1") + b"\n"] * 4])


def a_line_with_too_many_values(folder: Path) -> None:
    _write(
        folder, [GOOD, json.dumps(result("full", contained=["?"])).encode().replace(b'"?"', b"1," * (8 * MIB) + b"1")]
    )


def json_100_000_deep(folder: Path) -> None:
    _write(folder, [GOOD, *_deep_lines(100_000)])


def _deep_lines(depth: int) -> Iterator[bytes]:
    for opening, closing in DEEP.values():
        for position in POSITIONS:
            head = b'{"resourceType":"Observation","id":"deep","%s":' % position.encode()
            yield head + opening * depth + b"1" + closing * depth + b"}\n"
        yield opening * depth + b"\n"


def too_many_files(folder: Path) -> None:
    for number in range(1_001):
        (folder / f"Observation{number}.ndjson").touch()


def _write(folder: Path, sent: list[bytes]) -> None:
    with (folder / "Observation.ndjson").open("wb") as file:
        file.writelines(sent)


BOMBS: dict[str, Callable[[Path], None]] = {
    bomb.__name__: bomb
    for bomb in (
        small,
        blank_lines_packed_a_thousand_to_one,
        one_line_packed_a_thousand_to_one,
        packed_beyond_the_limit,
        a_file_beyond_the_limit,
        one_line_of_96_mib,
        a_line_of_31_mib_that_is_within_the_limit,
        bad_lines_of_8_mib,
        lines_full_of_values,
        lines_of_numbers,
        large_lines_full_of_values,
        a_line_with_too_many_values,
        json_100_000_deep,
        too_many_files,
    )
}


def all_in_one_part(content: Any, starts: Any, _deepest: int) -> Iterator[heavy.Part]:
    """A broken door: whatever the lines weigh, DuckDB gets them together, many at once."""
    yield heavy.Part(0, len(starts) - 1, False)


def without_end(unpacking: Unpacking, path: Path) -> Iterator[bytes]:
    """A broken door: a packed file is unpacked to its end."""
    with gzip.open(path) as file:
        while chunk := file.read(MIB):
            yield chunk


def break_the_door() -> None:
    """The control: without the guards the same bombs must go off."""
    lines.parts = all_in_one_part  # type: ignore[attr-defined]
    lines.CHUNK = 16 * MIB
    Unpacking.chunks = without_end  # type: ignore[method-assign]


def outcome(ward: Ward, bomb: Callable[[Path], None]) -> dict[str, Any]:
    """Make a bomb, and say what an ingest does with it."""
    folder = ward.places.temp.parent / "sent"
    folder.mkdir()
    bomb(folder)
    try:
        done = ward.ingest(folder, night=1)
    except Refused as error:
        return {"refused": error.what, "left": _left(ward, extracts=1)}
    except Exception as error:
        return {"stopped": type(error).__name__}
    account = done.accounts["observation"]
    return {
        "mapped": account.mapped,
        "quarantined": done.quarantined,
        "balances": account.balances,
        "left": _left(ward, extracts=2),
    }


def _left(ward: Ward, *, extracts: int) -> int:
    """How much lies about beside so many extracts in landing."""
    landed = [path for path in (ward.places.landing / "ward").iterdir() if path.is_dir()]
    return len(landed) - extracts + sum(path.is_dir() for path in ward.places.temp.iterdir())


def _life(home: Path, name: str) -> None:
    bomb = {**BOMBS, "one_line_of_1_gib": one_line_of_1_gib}[name.removeprefix(BROKEN)]
    if name.startswith(BROKEN):
        break_the_door()
    ward = open_home(home)
    found = outcome(ward, bomb)
    ward.records.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    found |= {"peak_mb": used.ru_maxrss // 1024, "cpu_s": round(used.ru_utime + used.ru_stime, 1)}
    _say({"bomb": name, **found})


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main(warm: Path, names: list[str]) -> None:
    """Take in the bombs with these names, one after the other."""
    for name in names:
        home = warm.with_name(f"{warm.name}-{name}")
        shutil.copytree(warm, home)
        (home / "sources" / "ward" / "contract.yaml").write_text(WARD + LIMITS)
        if (child := os.fork()) == 0:
            _life(home, name)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            _say({"bomb": name, "died": status})
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","))
