"""What a server says went wrong with its export: OperationOutcomes, one a line."""

import gzip
from pathlib import Path

import orjson

SERIOUS = ("error", "fatal")


def serious_count(path: Path) -> int:
    """How many lines tell of something that was not exported. A line that cannot be read counts: nobody knows."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return sum(is_serious(line) for line in file if line.strip())


def is_serious(line: bytes) -> bool:
    """Whether an OperationOutcome tells of something that was not given."""
    try:
        issues = orjson.loads(line)["issue"]
        return any(issue["severity"] in SERIOUS for issue in issues)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return True
