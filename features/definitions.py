"""The feature views: what each SQL file says of itself, and the same declared to Feast.

A view is a file views/<view>.sql. Its comment header names codes, hold window, owner and freshness; each feature of its
last select stands on a line `... as <feature>, -- what it is`, and the name ends in its unit. A code (LOINC) stands
with the word by which the names of its features begin, and their unit: `2160-0 creatinine mg_dl`. Codes may take
several lines. What stands in the SQL once for every word is written out: see repeated.py. A feature that begins with
no word draws on all codes, unless the header names it under `-- no codes: `.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from features.hold_windows import longer_windows
from features.repeated import Word, expanded, repeated_parts, words_of
from features.view_words import HEADER, PATTERN, Feature, features_of_sql, names_without_codes, time_span
from integrations.errors import WrongUsage

VIEWS = Path(__file__).resolve().parent / "views"


@dataclass(frozen=True, kw_only=True)
class View:
    """One feature view. A quarantined row of `codes` within `hold_window` before prediction_time holds its features."""

    name: str
    sql: str  # with its repeated parts written out
    description: str
    words: tuple[Word, ...]  # with their codes (LOINC): the names of the features begin by them
    without_codes: frozenset[str]  # features that begin with no word and draw on no code
    hold_window: timedelta
    longer_hold_windows: Mapping[str, timedelta]  # of features that look back further than the others
    owner: str
    freshness: timedelta
    features: tuple[Feature, ...]
    patterns: tuple[tuple[str, str], ...]  # name with {word} and {unit}, and description, of what every word has
    reference_tables: tuple[Path, ...]

    @property
    def word_of_code(self) -> Mapping[str, str]:
        """By which word the names of the features of a code begin."""
        return {code: each.word for each in self.words for code in each.codes}

    @property
    def repeated_features(self) -> tuple[str, ...]:
        """The names of the features that every word has, word by word."""
        return tuple(name.format(word=w.word, unit=w.unit) for w in self.words for name, _ in self.patterns)

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code that the view draws on."""
        return tuple(self.word_of_code)

    @property
    def hold_windows(self) -> tuple[timedelta, ...]:
        """Every hold window that a feature of the view has, the shortest first."""
        return tuple(sorted({self.hold_window, *self.longer_hold_windows.values()}))

    def hold_window_of(self, feature: str) -> timedelta:
        """Return how far before prediction_time a quarantined result holds a feature."""
        return self.longer_hold_windows.get(feature, self.hold_window)

    def codes_of(self, feature: str) -> tuple[str, ...]:
        """Return the codes that a feature of the view draws on: those of its word, or all where it begins with none.

        None, where the header says so, for a feature of another view, and where the view draws on no codes.
        """
        of_its_word = tuple(code for code, word in self.word_of_code.items() if feature.startswith(f"{word}_"))
        is_of_all = not of_its_word and feature in {each.name for each in self.features} - self.without_codes
        return self.codes if is_of_all else of_its_word

    @cached_property
    def codes_by_feature(self) -> Mapping[str, tuple[str, ...]]:
        """The codes that each feature of the view draws on."""
        return {each.name: self.codes_of(each.name) for each in self.features}

    @property
    def version(self) -> str:
        """The shortened sha256 of the SQL and of the reference tables that it names."""
        digest = hashlib.sha256(self.sql.encode())
        for path in self.reference_tables:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


def view_names(folder: Path = VIEWS) -> tuple[str, ...]:
    """Return the names of all feature views: the SQL files that are there."""
    return tuple(sorted(path.stem for path in folder.glob("*.sql")))


def view(name: str, folder: Path = VIEWS) -> View:
    """Read one feature view. Raises WrongUsage for an unknown name, a missing header line, a feature without unit."""
    path = folder / f"{name}.sql"
    if name not in view_names(folder):
        near = difflib.get_close_matches(name, view_names(folder), 1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(view_names(folder))}"
        raise WrongUsage(f"unknown feature view {name}", where=str(folder), to_do=known)
    return _read(name, path, path.read_text(encoding="utf-8"), tuple(sorted(folder.glob("*.csv"))))


@lru_cache
def _read(name: str, path: Path, text: str, tables: tuple[Path, ...]) -> View:
    header = "\n".join(takewhile(lambda line: line.startswith("--"), text.splitlines()))
    said: dict[str, str] = {}
    for key, value in HEADER.findall(header):
        said[key] = f"{said[key]}, {value}" if key in said else value
    for key in ("codes", "hold window", "owner", "freshness"):
        if key not in said:
            raise WrongUsage(
                f"the header of {name} has no line '-- {key}: '", where=str(path), to_do="add it to the header"
            )
    lines = [line.removeprefix("-- ") for line in header.splitlines() if line and not HEADER.match(line)]
    words = words_of(said["codes"], path)
    sql = expanded(text, words, path)
    features = features_of_sql(sql, path)
    window = time_span(said["hold window"], path)
    return View(
        name=name,
        sql=sql,
        description=" ".join(lines),
        words=words,
        without_codes=names_without_codes(said.get("no codes", ""), features, path),
        hold_window=window,
        longer_hold_windows=longer_windows(
            said.get("longer hold window", ""), [feature.name for feature in features], window, path
        ),
        owner=said["owner"],
        freshness=time_span(said["freshness"], path),
        features=features,
        patterns=tuple(pattern for part in repeated_parts(text) for pattern in PATTERN.findall(part)),
        reference_tables=tuple(p for p in tables if re.search(rf"\bjoin {p.stem}\b", sql)),
    )


def feature_names(names: Sequence[str], folder: Path = VIEWS) -> tuple[str, ...]:
    """Return every "view:feature" of these views, in the order of their SQL."""
    return tuple(f"{name}:{feature.name}" for name in names for feature in view(name, folder).features)


def check_features(features: Sequence[str], folder: Path = VIEWS) -> None:
    """Raise WrongUsage for a "view:feature" that no view has, or for two features of one name."""
    names = dict.fromkeys(reference.partition(":")[0] for reference in features)
    known_of = {name: [each.name for each in view(name, folder).features] for name in names}
    for reference in features:
        name, _, feature = reference.partition(":")
        known = known_of[name]
        if feature not in known:
            near = difflib.get_close_matches(feature, known, 1)
            hint = f"did you mean {name}:{near[0]}?" if near else f"known: {', '.join(known)}"
            raise WrongUsage(f"unknown feature {reference}", where=f"{name}.sql", to_do=hint)
    short = [reference.partition(":")[2] for reference in features]
    twice = sorted({name for name in short if short.count(name) > 1})
    if twice:
        raise WrongUsage(f"feature named twice: {', '.join(twice)}", where="features", to_do="name each feature once")


@dataclass(frozen=True, kw_only=True)
class Service:
    """What one version of a use case takes: Feast's FeatureService, by which it is asked for and shown."""

    name: str
    features: tuple[str, ...]
    owner: str
    description: str
    tags: Mapping[str, str]


def feast_objects(names: Sequence[str], offline: Path, folder: Path = VIEWS) -> list[Any]:
    """Declare the views to Feast: one entity, a folder of Parquet each, prediction_time as event time.

    ttl is a second: a row belongs to its own prediction_time and is never filled with an older one.
    """
    from feast import Entity, FeatureView, FileSource, ValueType
    from feast.data_format import ParquetFormat

    encounter = Entity(
        name="encounter",
        join_keys=["encounter_id"],
        value_type=ValueType.STRING,
        description="one stay or visit; patient_id is a plain column",
    )
    objects: list[Any] = [encounter]
    for each in (view(name, folder) for name in names):
        source = FileSource(
            name=f"{each.name}_rows",
            path=str(view_folder(offline, each) / "*.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="prediction_time",
            created_timestamp_column="created_at",
        )
        objects.append(
            FeatureView(
                name=each.name,
                entities=[encounter],
                ttl=timedelta(seconds=1),
                schema=_fields(each),
                source=source,
                description=each.description,
                owner=each.owner,
                tags={"version": each.version, "freshness_hours": _hours(each.freshness)},
            )
        )
    return objects


def feast_service(service: Service, feast_views: Mapping[str, Any]) -> Any:
    """Declare a service to Feast, over the views that Feast knows."""
    from feast import FeatureService

    pairs = [reference.split(":") for reference in service.features]
    return FeatureService(
        name=service.name,
        features=[feast_views[name][[f for each, f in pairs if each == name]] for name in dict(pairs)],
        owner=service.owner,
        description=service.description,
        tags=dict(service.tags),
    )


def _fields(each: View) -> list[Any]:
    """Every field says what it is, its unit, whose it is and how old it may be; those of the row itself as well."""
    from feast import Field
    from feast.types import Float64, Int64, String, UnixTimestamp

    common = {"owner": each.owner, "freshness_hours": _hours(each.freshness)}
    of_the_row = (
        ("feature_prediction_time", UnixTimestamp, "instant, UTC", "the prediction_time that the row is of"),
        ("feature_prediction_time_us", Int64, "us since 1970", "the same to the microsecond; online only"),
        ("feature_snapshot_id", Int64, "snapshot number", "the snapshot that the row was computed from; online only"),
        ("feature_view_version", String, "shortened sha256", "the version of feeds, view and SQL; online only"),
    )
    return [
        *(
            Field(name=f.name, dtype=Float64, description=f.description, tags={"unit": f.unit, **common})
            for f in each.features
        ),
        *(
            Field(name=name, dtype=kind, description=text, tags={"unit": unit, **common})
            for name, kind, unit, text in of_the_row
        ),
    ]


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g}"


def view_folder(offline: Path, each: View) -> Path:
    """Return where the rows of this version of a view lie: a changed SQL starts an empty folder."""
    return offline / each.name / each.version
