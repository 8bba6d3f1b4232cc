"""No string of a feed ever becomes SQL, a path or a setting: it comes back to the byte, or stands in quarantine."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir import run_view
from integrations.ingest.scratch import scratch, tables
from tests.integrations.ingest.conftest import Ward, result

PAYLOADS = 1_000
WEAPONS = (
    "'; drop table judged; --",
    "' or '1'='1",
    "\"; attach '/etc/passwd' as x; --",
    "') union all select * from read_text('/etc/passwd') --",
    "'||(select getenv('HOME'))||'",
    "$$; copy (select 1) to '/tmp/owned'; $$",
    "\\'; set enable_external_access=true; --",
    "{0.__class__} %s %(id)s ${HOME} `id` $(id)",
    "*/ select 1 /*",
    "../../../../etc/passwd",
    "-- ",
    "\u0000\u0001\u001f\u007f",
    "\u202e\u2028\u2029\ufeff",
    "e\u0301 \U0001f600 \u0130 \u00df",
    "line\r\nbreak\ttab",
    '{"resourceType":"Patient"}',
    "NULL",
    "nan",
    "[]",
    "",
    " ",
)


def payloads() -> Iterator[str]:
    """The same thousand in each run: weapons, and weapons joined by what the generator draws."""
    random_ = random.Random(20)
    yield from WEAPONS
    for _ in range(PAYLOADS - len(WEAPONS)):
        sign = chr(random_.choice((39, 34, 59, 92, 36, 10, 0x4E2D, random_.randrange(32, 0x800))))
        parts = [*random_.choices(WEAPONS, k=2), sign]
        random_.shuffle(parts)
        yield "".join(parts)


def every_string(text: str) -> dict[str, Any]:
    """An Observation that says this text wherever FHIR lets one say text."""
    coding = {"system": text, "version": text, "code": text, "display": text}
    quantity = {"value": 1, "unit": text, "system": text, "code": text}
    return {
        "resourceType": "Observation",
        "id": text,
        "status": text,
        "implicitRules": text,
        "language": text,
        "meta": {"versionId": text, "source": text, "lastUpdated": text, "profile": [text]},
        "identifier": [{"system": text, "value": text, "use": text}],
        "code": {"text": text, "coding": [coding]},
        "subject": {"reference": text, "display": text, "type": text},
        "encounter": {"reference": text},
        "effectiveDateTime": text,
        "issued": text,
        "note": [{"text": text, "time": text}],
        "valueQuantity": quantity,
        "component": [{"code": {"text": text}, "valueString": text}],
        "extension": [{"url": text, "valueString": text}],
    }


PATHS = (
    "id", "status", "implicitRules", "language", "meta.versionId", "meta.source", "meta.lastUpdated",
    "meta.profile.first()", "identifier.system.first()", "identifier.value.first()", "identifier.use.first()",
    "code.text", "code.coding.system.first()", "code.coding.version.first()", "code.coding.code.first()",
    "code.coding.display.first()", "subject.reference", "subject.display", "subject.type", "encounter.reference",
    "effective.ofType(dateTime)", "issued", "note.text.first()", "note.time.first()",
    "value.ofType(Quantity).unit", "value.ofType(Quantity).system", "value.ofType(Quantity).code",
    "component.code.text.first()", "component.value.ofType(string).first()", "extension.url.first()",
    "extension.value.ofType(string).first()",
)  # fmt: skip


def test_a_thousand_payloads_come_back_to_the_byte_through_every_string_of_a_view() -> None:
    sent = list(payloads())
    assert len(sent) == PAYLOADS
    columns = [{"name": f"c{number}", "path": path} for number, path in enumerate(PATHS)]
    view = {"resource": "Observation", "select": [{"column": columns}]}
    found = run_view(view, [every_string(text) for text in sent])
    assert [set(row.values()) for row in found] == [{text} for text in sent]


def test_a_thousand_payloads_come_back_to_the_byte_as_constants_of_a_view() -> None:
    sent = list(payloads())
    view = {
        "resource": "Observation",
        "constant": [{"name": f"c{number}", "valueString": text} for number, text in enumerate(sent)],
        "select": [{"column": [{"name": f"c{number}", "path": f"%c{number}"} for number in range(len(sent))]}],
    }
    [row] = run_view(view, [{"resourceType": "Observation", "id": "o1"}])
    assert list(row.values()) == sent


def test_results_named_by_payloads_are_kept_by_those_names_and_the_account_balances(open_ward: Ward) -> None:
    sent = {text for text in payloads() if text}
    taken = open_ward.send(night=1, Observation=[result(text) for text in sent])
    account = taken.accounts["observation"]
    assert account.balances
    assert (account.received, account.mapped) == (len(sent), len(sent))
    assert {name for (name,) in open_ward.rows("select observation_id from observation")} == {
        f"ward/{text}" for text in sent
    }


def test_what_payloads_stand_for_code_unit_or_patient_is_set_aside_or_waits(open_ward: Ward) -> None:
    sent = [text for text in payloads() if text.strip()]
    lines = [result(f"c{n}", code=text) for n, text in enumerate(sent)]
    lines += [result(f"u{n}", unit=text) for n, text in enumerate(sent)]
    lines += [result(f"p{n}", of=text) for n, text in enumerate(sent)]
    account = open_ward.send(night=1, Observation=lines).accounts["observation"]
    assert account.balances
    assert (account.received, account.mapped) == (3 * len(sent), 0)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_json('{home}/records.db')",
        "copy (select 1) to '{home}/owned.csv'",
        "attach '{home}/owned.duckdb' as owned",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "set memory_limit = '100GB'",
        "reset lock_configuration",
    ],
)
def test_the_tables_of_an_ingest_see_nothing_else_and_keep_their_settings(
    open_ward: Ward, tmp_path: Path, statement: str
) -> None:
    with scratch(open_ward.places, dry_run=False) as own, tables(own, 100, is_on_disk=False) as connection:
        (own.temp / "rows.csv").write_text("a\n1\n")
        assert connection.execute(f"select a from read_csv({quoted(own.temp / 'rows.csv')})").fetchall() == [(1,)]
        (tmp_path / "records.db").write_text('{"a": 1}')
        with pytest.raises(duckdb.Error, match=r"disabled (by|through) configuration|locked|Cannot change"):
            connection.execute(statement.format(home=tmp_path))
    assert not list(tmp_path.glob("owned*"))
