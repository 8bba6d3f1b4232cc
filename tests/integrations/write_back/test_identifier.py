"""The identifier of a score, and the secret that it is made with."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest

from integrations.errors import NotInOrder
from integrations.write_back.identifier import score_identifier, site_namespace

NAMESPACE = UUID("11111111-2222-4333-8444-555555555555")
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


def test_the_same_prediction_has_the_same_identifier_in_any_time_zone() -> None:
    in_chicago = NOON.astimezone(timezone(timedelta(hours=-5)))
    first = score_identifier(NAMESPACE, "demo", "readmission_30d", "demo_ehr/e1", NOON)
    assert first == score_identifier(NAMESPACE, "demo", "readmission_30d", "demo_ehr/e1", in_chicago)
    assert UUID(first).version == 5


def test_site_use_case_stay_and_moment_each_make_another_identifier() -> None:
    others = [
        score_identifier(NAMESPACE, "demo", "readmission_30d", "demo_ehr/e1", NOON),
        score_identifier(NAMESPACE, "north", "readmission_30d", "demo_ehr/e1", NOON),
        score_identifier(NAMESPACE, "demo", "aki_48h", "demo_ehr/e1", NOON),
        score_identifier(NAMESPACE, "demo", "readmission_30d", "demo_ehr/e2", NOON),
        score_identifier(NAMESPACE, "demo", "readmission_30d", "demo_ehr/e1", NOON + timedelta(microseconds=1)),
        score_identifier(UUID(int=1), "demo", "readmission_30d", "demo_ehr/e1", NOON),
    ]
    assert len(set(others)) == len(others)


def test_each_site_gets_one_secret_that_stays_and_that_only_its_owner_reads(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    first = site_namespace(secrets, "demo")
    assert first == site_namespace(secrets, "demo")
    assert first != site_namespace(secrets, "../north")
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in secrets.iterdir()] == [0o600, 0o600]


def test_many_that_need_the_secret_at_once_all_get_the_same(tmp_path: Path) -> None:
    gate = Barrier(8)

    def ask(_: int) -> UUID:
        gate.wait()
        return site_namespace(tmp_path / "secrets", "demo")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8)))
    assert len(answers) == 1
    assert len(list((tmp_path / "secrets").iterdir())) == 1


def test_a_broken_secret_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    site_namespace(tmp_path, "demo")
    (tmp_path / "identifier_namespace_demo").write_text("")
    with pytest.raises(NotInOrder, match="restore"):
        site_namespace(tmp_path, "demo")
