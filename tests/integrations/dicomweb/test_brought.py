"""Studies that are brought as files: read by the same door, whatever form they have, and whatever they say."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from integrations.dicomweb.needed import needed_line, needed_study
from integrations.dicomweb.tags import ACCESSION_NUMBER, OF_A_STUDY
from integrations.errors import NotInOrder, Refused
from integrations.ingest import TableAccount
from integrations.limits import Limits
from integrations.records.schema import quarantine
from tests.integrations.dicomweb.conftest import FEED, PACS, ReadingRoom, Study, study
from tests.integrations.fhir.mutations import KINDS, mutant

MUTANTS = 50_000 if "ROUNDS_SOAK" in os.environ else 4_000
SERIES = "00081115"


@pytest.fixture
def known(room: ReadingRoom) -> ReadingRoom:
    """A reading room that knows the patient m1."""
    room.know("m1")
    return room


def in_series(*series: tuple[int | None, str | None, str | None, str], **more: Any) -> Study:
    """A study with these series: number, modality, body part, and UID."""
    names = ("00200011", "00080060", "00180015", "0020000E")
    items = [{name: {"Value": [value]} for name, value in zip(names, one, strict=True) if value} for one in series]
    return study(**more) | {SERIES: {"vr": "SQ", "Value": items}}


Said = dict[str, Any]
TIMES: list[tuple[Said, str | None]] = [
    ({"StudyTime": "100530.25"}, "2024-03-01 16:05:30.25+00"),
    ({"StudyTime": "1005"}, "2024-03-01 16:05:00+00"),
    ({"StudyTime": "10"}, "2024-03-01 16:00:00+00"),
    ({"StudyDate": "2024.03.01", "StudyTime": "10:05:30"}, "2024-03-01 16:05:30+00"),
    ({"TimezoneOffsetFromUTC": "+0530"}, "2024-03-01 04:35:00+00"),
    ({"TimezoneOffsetFromUTC": "-0330"}, "2024-03-01 13:35:00+00"),
    ({"StudyDate": "20230701"}, "2023-07-01 15:05:00+00"),  # summer in Chicago
    ({"StudyTime": None}, "2024-03-02 05:59:59.999999+00"),  # as the contract says of a date alone
    ({"StudyDate": None}, None),
    ({"StudyTime": "100500 "}, "2024-03-01 16:05:00+00"),
]


def test_times_are_read_with_their_offset_or_in_the_zone_of_the_feed(known: ReadingRoom) -> None:
    result = known.bring(*(study(f"1.2.{n}", **said) for n, (said, _) in enumerate(TIMES)))
    assert known.ward.reasons() == {}
    assert result.accounts["imaging_study"].mapped == len(TIMES)
    found = dict(known.studies("imaging_study_id, effective_at::varchar"))
    assert [(said, found[f"pacs/1.2.{n}"]) for n, (said, _) in enumerate(TIMES)] == TIMES


WRONG: list[tuple[Said, str, str]] = [
    ({"StudyDate": "20241399"}, "bad_time", "StudyDate"),
    ({"StudyDate": "01.03.2024"}, "bad_time", "StudyDate"),
    ({"StudyDate": "today"}, "bad_time", "StudyDate"),
    ({"StudyTime": "250000"}, "bad_time", "StudyTime"),
    ({"StudyTime": "10.05"}, "bad_time", "StudyTime"),
    ({"TimezoneOffsetFromUTC": "CET"}, "bad_time", "TimezoneOffsetFromUTC"),
    ({"TimezoneOffsetFromUTC": "+9900"}, "bad_time", "TimezoneOffsetFromUTC"),
    ({"StudyDate": "18991231"}, "impossible_time", "effective_at"),
    ({"StudyDate": "20240312"}, "impossible_time", "effective_at"),  # two days after it came
    ({"StudyDate": ["20240301", "20240302"]}, "bad_value", "StudyDate"),
    ({"PatientID": None}, "missing_field", "patient_id"),
    ({"PatientID": {"Alphabetic": "Doe^Jane"}}, "bad_value", "PatientID"),
    ({"PatientID": "x" * 65}, "bad_value", "PatientID"),
    ({"IssuerOfPatientID": "SOUTH"}, "foreign_patient", "IssuerOfPatientID"),
    ({"NumberOfStudyRelatedSeries": "many"}, "bad_value", "NumberOfStudyRelatedSeries"),
    ({"NumberOfStudyRelatedSeries": -1}, "bad_value", "NumberOfStudyRelatedSeries"),
    ({"ModalitiesInStudy": [{"a": 1}]}, "bad_value", "ModalitiesInStudy"),
    ({"BodyPartExamined": "HE\nAD"}, "bad_value", "BodyPartExamined"),
]


def test_what_cannot_be_is_quarantined_with_reason_and_place_and_its_neighbour_is_taken(known: ReadingRoom) -> None:
    result = known.bring(*(study(f"1.2.{n}", **said) for n, (said, _, _) in enumerate(WRONG)), study("1.3"))
    account = result.accounts["imaging_study"]
    assert (account.received, account.mapped, account.quarantined) == (len(WRONG) + 1, 1, len(WRONG))
    with known.ward.records.read() as db:
        rows = db.execute(select(quarantine).where(quarantine.c.table_name == "imaging_study")).all()
    assert {row.source_file for row in rows} == {"answer.json.ndjson"}
    why = {row.source_line: (row.reason, row.detail) for row in rows}
    assert [(said, *why[line]) for line, (said, _, _) in enumerate(WRONG, 1)] == WRONG
    [first] = [row for row in rows if row.source_line == 1]
    assert json.loads(first.bytes)["00080020"]["Value"] == ["20241399"]
    assert [uid for (uid,) in known.studies("imaging_study_id")] == ["pacs/1.3"]


def test_a_study_without_a_number_that_can_be_one_is_quarantined(known: ReadingRoom) -> None:
    studies = [study() for _ in range(3)]
    for sent, uids in zip(studies, ([], ["1.2/../x"], ["1", "2"]), strict=True):
        sent["0020000D"]["Value"] = uids
    known.bring(*studies)
    assert known.ward.reasons() == {"missing_id": 1, "bad_value": 2}


FIRST_SERIES: list[tuple[Study, tuple[Any, ...]]] = [
    (study(ModalitiesInStudy=["SR", "PR", "MR"], BodyPartExamined="KNEE"), ("MR", "KNEE", 2)),
    (study(ModalitiesInStudy="SR\\CT"), ("CT", None, 2)),
    (study(ModalitiesInStudy="SR"), ("SR", None, 2)),
    (in_series((2, "CT", "HEAD", "1.1"), (1, "MR", None, "1.2")), ("MR", "HEAD", 2)),
    (in_series((1, "SR", "CHEST", "1.1"), (2, "CT", "HEAD", "1.2"), (None, "CT", "LEG", "1.3")), ("CT", "HEAD", 3)),
    (in_series((1, "CT", "HEAD", "1.1"), (1, "CT", "HEAD", "1.1")), ("CT", "HEAD", 1)),
    (in_series(ModalitiesInStudy="US"), ("US", None, 2)),
    (in_series((None, "US", None, "1.2"), NumberOfStudyRelatedSeries=None), ("US", None, 1)),
    (study(NumberOfStudyRelatedSeries=None, ModalitiesInStudy=None), (None, None, None)),
    (study(NumberOfStudyRelatedSeries="3"), ("CT", None, 3)),
]


def test_modality_and_body_part_are_those_of_the_first_series_that_makes_images(known: ReadingRoom) -> None:
    for number, (sent, _) in enumerate(FIRST_SERIES):
        sent["0020000D"]["Value"] = [f"1.2.{number}"]
    known.bring(*(sent for sent, _ in FIRST_SERIES))
    found = {row[0]: row[1:] for row in known.studies()}
    assert [found[f"pacs/1.2.{number}"] for number in range(len(FIRST_SERIES))] == [row for _, row in FIRST_SERIES]


def test_the_issuer_is_the_authority_that_the_contract_names(known: ReadingRoom) -> None:
    issuers = ["NORTH", "1.2.3", "SOUTH", None]
    studies = [study(f"1.2.{n}", IssuerOfPatientID=issuer) for n, issuer in enumerate(issuers)]
    known.write_contract(PACS.replace('assigning_authorities: [""]', "assigning_authorities: [NORTH]"))
    known.bring(*studies)
    assert [uid for (uid,) in known.studies("imaging_study_id")] == ["pacs/1.2.0", "pacs/1.2.1"]
    assert known.ward.reasons() == {"foreign_patient": 2}


def test_arrays_lines_and_packed_files_are_the_same(known: ReadingRoom, tmp_path: Path) -> None:
    studies = [study(f"1.2.{n}") for n in range(6)]
    folder = tmp_path / "brought"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(studies[:2], indent=2))
    (folder / "b.ndjson").write_bytes(b"\xef\xbb\xbf" + "\n\n".join(map(json.dumps, studies[2:4])).encode())
    (folder / "sub" / "c.json.gz").write_bytes(gzip.compress(json.dumps(studies[4]).encode()))
    (folder / "d.ndjson.gz").write_bytes(gzip.compress(json.dumps(studies[5]).encode() + b"\r\n"))
    result = known.ward.ingest(folder, source=FEED)
    assert result.accounts["imaging_study"] == TableAccount(received=6, mapped=6, rows_written=6)
    again = known.ward.ingest(folder, night=1, source=FEED)
    assert not again.is_new


def test_what_cannot_be_read_is_one_record_with_a_stand_in(known: ReadingRoom, tmp_path: Path) -> None:
    folder = tmp_path / "brought"
    folder.mkdir()
    (folder / "cut.json").write_text(json.dumps([study()], indent=2)[:-9])
    lines = ["Doe^Jane", "7", json.dumps([study()]), json.dumps(study("1.2.9"))]
    (folder / "lines.ndjson").write_text("\n".join(lines))
    one_series = {**study(), "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]}}
    (folder / "series.json").write_text(json.dumps([one_series]))
    result = known.ward.ingest(folder, source=FEED)
    account = result.accounts["imaging_study"]
    assert (account.received, account.mapped, account.quarantined) == (6, 1, 5)
    assert known.ward.reasons() == {"not_json": 2, "wrong_type": 3}
    landed = b"".join(path.read_bytes() for path in known.ward.places.landing.rglob("*.ndjson"))
    assert b"Doe" not in landed


@pytest.mark.parametrize("name", ["image.dcm", "notes.txt", "page.xml"])
def test_a_file_that_is_no_answer_is_refused_and_nothing_of_it_is_kept(
    known: ReadingRoom, tmp_path: Path, name: str
) -> None:
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / name).write_text("Doe^Jane")
    with pytest.raises(Refused, match="no answer of QIDO-RS") as caught:
        known.ward.ingest(tmp_path / "brought", source=FEED)
    assert name in caught.value.where
    assert not [path for path in known.home.rglob("*") if path.is_file() and b"Doe^Jane" in path.read_bytes()]


def test_a_manifest_of_somebody_else_passes_nothing_on(known: ReadingRoom, tmp_path: Path) -> None:
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / "page.json").write_text(json.dumps([study()]))
    manifest = {"patient": "Doe^Jane", "transactionTime": "Doe^Jane", "files": ["Doe^Jane", {"name": "Doe Jane"}]}
    (tmp_path / "brought" / "manifest.json").write_text(json.dumps(manifest))
    known.ward.ingest(tmp_path / "brought", source=FEED)
    [landed] = known.ward.places.landing.glob("pacs/*/manifest.json")
    assert b"Doe" not in landed.read_bytes()


def test_the_filter_leaves_its_own_lines_as_they_are() -> None:
    random, tags, limits = Random(4), (*OF_A_STUDY, ACCESSION_NUMBER), Limits()
    sent = [in_series((1, "CT", "HEAD", "1.1"), (2, "MR", None, "1.2"), AccessionNumber="A1", IssuerOfPatientID="N")]
    for number in range(400):
        line = needed_line(mutant(random, random.choice(KINDS), sent[0], f"m{number}"), tags, limits)
        assert needed_line(line, tags, limits) == line
    assert needed_study(sent[0], tags) == needed_line(needed_study(sent[0], tags), tags, limits)


# Thousands of studies that are not quite what they should be.


def mutants(count: int, seed: int) -> tuple[list[bytes], Counter[str]]:
    """Lines, each a mutated study of m1, and how many of each kind there are."""
    random, tried = Random(seed), Counter[str]()
    sound = [
        study(BodyPartExamined="HEAD", TimezoneOffsetFromUTC="-0600", IssuerOfPatientID="1.2.3", AccessionNumber="A7"),
        in_series((1, "CT", "HEAD", "1.1"), (2, "SR", "CHEST", "1.2"), StudyTime="1005"),
        study(ModalitiesInStudy=["CT", "SR"], StudyTime=None, NumberOfStudyRelatedSeries="2"),
    ]
    lines = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        one = json.loads(json.dumps(random.choice(sound)))
        one["0020000D"]["Value"] = [f"1.9.{number}"]
        lines.append(mutant(random, kind, one, f"m{number}"))
        tried[kind] += 1
    return lines, tried


def take_mutants(room: ReadingRoom, folder: Path, lines: list[bytes]) -> dict[str, TableAccount]:
    """Bring them, sound ones among them."""
    folder.mkdir()
    sound = [json.dumps(study(f"1.2.{n}")).encode() for n in range(50)]
    mixed = [*lines, *sound]
    Random(1).shuffle(mixed)
    (folder / "mutants.ndjson").write_bytes(b"\n".join(mixed))
    return room.ward.ingest(folder, source=FEED).accounts


def test_thousands_of_mutants_never_raise_and_the_account_balances(
    known: ReadingRoom, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lines, tried = mutants(MUTANTS, int(request.config.getoption("--hypothesis-seed") or 0))
    accounts = take_mutants(known, tmp_path / "brought", lines)
    print(f"mutants: {tried.total()} tried of {len(tried)} kinds; {accounts['imaging_study']}")
    assert set(tried) == set(KINDS)
    for account in accounts.values():
        assert account.balances
        assert account.received >= MUTANTS
    found = {uid for (uid,) in known.studies("imaging_study_id")}
    assert {f"pacs/1.2.{n}" for n in range(50)} <= found
    assert accounts["imaging_study"].quarantined > MUTANTS / 10
    assert accounts["imaging_study"].mapped > MUTANTS / 10
    reasons = known.ward.reasons()
    assert {"not_json", "bad_value", "bad_time", "missing_id", "missing_field"} <= reasons.keys()


def test_of_a_mutant_too_nothing_is_kept_that_is_not_wanted() -> None:
    lines, _ = mutants(2_700, 5)
    # one that swaps two values may write the name where the patient's number belongs
    kept = [
        needed_line(line, OF_A_STUDY, Limits()) for n, line in enumerate(lines) if KINDS[n % len(KINDS)] != "swapped"
    ]
    assert len(kept) == 2_600
    assert not [line for line in kept if b"Doe" in line or b"A7" in line]
    assert sum(b"unreadable" in line for line in kept) > 100


def test_a_door_that_loses_a_study_fails_the_suite(
    known: ReadingRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from integrations.dicomweb import staging

    honest = staging._sql
    monkeypatch.setattr(
        staging, "_sql", lambda name, feed: honest(name, feed) + ("\nwhere zone is null" if name == "study" else "")
    )
    with pytest.raises(NotInOrder, match="does not balance"):
        take_mutants(known, tmp_path / "brought", mutants(200, 1)[0])
