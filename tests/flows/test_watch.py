"""What the watch finds holds a real round and nothing else of the hospital, until a person releases it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from integrations.errors import Refused, WrongUsage
from integrations.records import Records, open_records
from integrations.records import schema as s
from integrations.records.audit_check import verify
from models.governance.finding_release import release_finding
from models.governance.signing import load_signer
from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

pytestmark = pytest.mark.xdist_group("played hospital")
BROKEN_FROM = datetime(2024, 7, 10, 4, 45, tzinfo=UTC)  # the laboratory has sent its two bad nights again before
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def without_creatinine(played: PlayedHospital, folder: Path, days_later: int) -> Path:
    """What the laboratory sent in night 6, some days later, under new numbers, and without creatinine."""
    sent = (played.files.nights[5].lis / "oru.hl7").read_bytes().decode()
    first = datetime(2024, 7, 5)
    for day in (1, 0):  # the later one first, or it would be moved twice
        now = first + day * DAY
        sent = sent.replace(f"{now:%Y%m%d}", f"{now + days_later * DAY:%Y%m%d}")
    sent = re.sub(r"(?<=\|)([A-Za-z]?\d+)-(BMP|CBC|HEP|LACT|TROP)", rf"\1D{days_later}-\2", sent)
    kept = [line for line in sent.split("\r") if not re.match(r"OBX\|\d+\|NM\|2160-0", line)]
    place = folder / f"later-{days_later}"
    place.mkdir()
    (place / "oru.hl7").write_bytes("\r".join(kept).encode())
    return place


@pytest.fixture(scope="module")
def broken(played: PlayedHospital, resent: Rounds, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The played hospital after two nights in which the laboratory has sent everything but creatinine."""
    folder = tmp_path_factory.mktemp("broken")
    rounds = copied(resent, folder)
    for days_later in (3, 4):
        at = (BROKEN_FROM + (days_later - 3) * DAY).isoformat()
        rounds.done("ingest", "demo_lis", "--from", str(without_creatinine(played, folder, days_later)), "--as-of", at)
    return rounds


def scores_since(records: Records, moment: datetime) -> list[Any]:
    """Live rows whose prediction time is this moment or later."""
    query = select(s.score).where(s.score.c.prediction_time >= moment, s.score.c.use_case == USE_CASE)
    with records.read() as db:
        return list(db.execute(query.order_by(s.score.c.prediction_time)))


def open_findings(rounds: Rounds) -> list[dict[str, object]]:
    found: list[dict[str, object]] = rounds.done("watch", "--json").json["findings"]
    return found


def test_a_dry_run_tells_what_it_would_find_and_writes_nothing(
    played: PlayedHospital, broken: Rounds, tmp_path: Path
) -> None:
    before = open_findings(broken)
    extract = without_creatinine(played, tmp_path, 5)
    at = (BROKEN_FROM + 2 * DAY).isoformat()
    told = broken.done("ingest", "demo_lis", "--from", str(extract), "--as-of", at, "--dry-run", "--json").json
    assert "code_vanished" in {each["kind"] for each in told["findings"]}
    assert open_findings(broken) == before


def test_a_code_that_is_gone_holds_who_needs_it_until_a_person_releases_it_and_then_they_are_due_once_more(
    broken: Rounds, played: PlayedHospital
) -> None:
    [gone] = [each for each in open_findings(broken) if each["kind"] == "code_vanished"]
    assert (gone["severity"], gone["codes"], gone["source"]) == ("blocking", ["2160-0"], "demo_lis")
    opened_at = datetime.fromisoformat(str(gone["opened_at"]))
    round_at = opened_at + HOUR / 2
    held = broken.done("score", USE_CASE, "--as-of", round_at.isoformat(), "--json").json
    assert held["held"] > 0
    records = open_records(f"sqlite:///{broken.home / 'records.db'}")
    newest = {row.status: row.reasons for row in scores_since(records, opened_at)}
    assert newest.keys() - {"excluded"} == {"held"}
    assert newest["held"] == ["recent_labs: code_vanished"]
    checks = broken.done("doctor", "--json").json["checks"]
    assert any("code_vanished" in check["finding"] for check in checks if check["state"] == "open")

    keys = played.rounds.home.parent
    release = ("watch", "release", str(gone["finding_id"]), "--reason", "the laboratory is on paper")
    signed = (*release, "--as", "Ben", "--key", str(keys / "ben.key"))
    assert broken(*release, "--as", "Ben", "--key", str(keys / "ada.key")).code == 1
    assert "would be released" in broken.done(*signed, "--dry-run").out
    assert len([each for each in open_findings(broken) if each["kind"] == "code_vanished"]) == 1

    ben = load_signer("Ben", keys / "ben.key")
    released_at = round_at + HOUR
    release_finding(
        records, finding_id=int(str(gone["finding_id"])), signer=ben, reason="it is back", as_of=released_at
    )
    again = broken.done("score", USE_CASE, "--as-of", (released_at + HOUR / 4).isoformat(), "--json").json
    assert again["scored"] > 0
    assert {row.status for row in scores_since(records, released_at)} - {"excluded"} == {"scored"}
    assert {row.prediction_time for row in scores_since(records, released_at)} == {released_at}
    with records.read() as db:
        assert verify(db) == []
    assert gone["finding_id"] not in {each["finding_id"] for each in open_findings(broken)}
    assert broken.done("watch", "--all").out.count("of the audit chain") == 1
    assert broken.done("audit", "verify").code == 0
    with pytest.raises(Refused, match="released already"):
        release_finding(records, finding_id=int(str(gone["finding_id"])), signer=ben, reason="x", as_of=released_at)
    records.close()


def test_a_code_that_no_score_needs_flags_the_scores_of_a_real_round(
    challenged: Rounds, played: PlayedHospital, tmp_path: Path
) -> None:
    rounds, night = copied(challenged, tmp_path), played.files.nights[3]  # all is well in it
    records = open_records(f"sqlite:///{rounds.home / 'records.db'}")
    _open_finding(records, codes=["8867-4"], opened_at=night.taken_at)
    done = rounds.done("score", USE_CASE, "--version", "2", "--as-of", night.round_at.isoformat(), "--json").json
    rows = [row for row in scores_since(records, night.taken_at) if row.version == 2 and row.status != "excluded"]
    records.close()
    assert {tuple(row.reasons) for row in rows} == {("vital_signs: code_vanished",)}
    flagged = [row for row in rows if row.status == "scored"]
    assert len(flagged) > 0
    assert all(0 < row.probability < 1 for row in flagged)
    assert len(rows) - len(flagged) == done["held"] > 0  # those of whom a vital sign was not measured


def test_who_is_not_registered_releases_nothing_and_a_release_without_its_entry_is_found(
    sqlite_records: Records, home: Path, tmp_path: Path
) -> None:
    from models.governance.people import add_person, remove_person

    at = BROKEN_FROM
    key = tmp_path / "ada.key"
    add_person(sqlite_records, name="Ada", role="engineer", key_out=key, as_of=at, signer=None, home=home)
    _open_finding(sqlite_records, codes=["2160-0"], opened_at=at)
    ada = load_signer("Ada", key)
    with pytest.raises(Refused, match="not registered"):
        release_finding(sqlite_records, finding_id=1, signer=load_signer("Eve", key), reason="x", as_of=at)
    with pytest.raises(WrongUsage, match="no finding 2"):
        release_finding(sqlite_records, finding_id=2, signer=ada, reason="x", as_of=at)
    with pytest.raises(Refused, match="after this release"):
        release_finding(sqlite_records, finding_id=1, signer=ada, reason="x", as_of=at - HOUR)
    release_finding(sqlite_records, finding_id=1, signer=ada, reason="seen", as_of=at + HOUR)
    with sqlite_records.read() as db:
        assert verify(db) == []
    gero_key = tmp_path / "gero.key"
    add_person(
        sqlite_records, name="Gero", role="governance", key_out=gero_key, as_of=at + HOUR, signer=None, home=home
    )
    gero = load_signer("Gero", gero_key)
    remove_person(sqlite_records, name="Ada", signer=gero, reason="she has left", as_of=at + HOUR)
    _open_finding(sqlite_records, codes=["2823-3"], opened_at=at)
    with pytest.raises(Refused, match="was removed"):
        release_finding(sqlite_records, finding_id=2, signer=ada, reason="x", as_of=at + HOUR)
    with sqlite_records.read() as db:
        assert verify(db) == []
    with sqlite_records.begin() as db:
        db.execute(update(s.finding).where(s.finding.c.finding_id == 1).values(released_at=at + 2 * HOUR))
    with sqlite_records.read() as db:
        assert "the release of finding 1 differs from the chain" in {each.what for each in verify(db)}


def _open_finding(records: Records, *, codes: list[str], opened_at: datetime) -> None:
    own = {
        "source": "demo_ehr",
        "site_id": "demo",
        "kind": "code_vanished",
        "subject": codes[0],
        "severity": "blocking",
    }
    said = {"evidence": {}, "sentence": "gone", "to_do": "ask", "since_at": opened_at - DAY, "opened_at": opened_at}
    with records.begin() as db:
        if not db.execute(select(s.extract.c.extract_id).where(s.extract.c.extract_id == "x")).first():
            extract = {"extract_id": "x", "source": "demo_ehr", "site_id": "demo", "received_at": opened_at}
            db.execute(insert(s.extract).values(**extract, digest="x", is_history=0, status="landed"))
        db.execute(insert(s.finding).values(**own, **said, extract_id="x", codes=codes))
