"""The audit chain only grows, and whatever is done to it is found at the entry where it was done."""

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from integrations.records import Records, audit
from integrations.records.audit import Anchor
from integrations.records.audit_check import Finding, verify
from integrations.records.schema import audit as audit_table
from integrations.records.schema import person

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def write(records: Records, count: int = 1, kind: str = "sent") -> None:
    for number in range(count):
        with records.begin() as connection:
            audit.append(connection, kind=kind, body={"batch": number}, at=NOON + timedelta(minutes=number))


def write_signed(
    connection: Connection, kind: str, body: dict[str, str], *, key: Ed25519PrivateKey = KEY, signer: str = "ana"
) -> int:
    signature = key.sign(audit.signed_text(kind, body, NOON)).hex()
    return audit.append(connection, kind=kind, body=body, at=NOON, signer=signer, signature=signature)


def register(connection: Connection, name: str = "ana", role: str = "governance", key: str = PUBLIC) -> int:
    body = {"name": name, "role": role, "public_key": key}
    seq = audit.append(connection, kind="person_added", body=body, at=NOON)
    connection.execute(insert(person).values(**body, added_seq=seq))
    return seq


def tamper(records: Records, statement: str) -> None:
    """Change the chain as somebody with the rights of the database's owner could: put the guards aside first."""
    with records.begin() as connection:
        if records.is_sqlite:
            for trigger in ("audit_no_update", "audit_no_delete", "audit_no_replace"):
                connection.exec_driver_sql(f"drop trigger if exists {trigger}")
        else:
            connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql(statement)


def findings(records: Records, anchor: Anchor | None = None) -> list[Finding]:
    with records.read() as connection:
        return verify(connection, *([anchor] if anchor else []))


def test_an_untouched_chain_is_in_order(records: Records) -> None:
    write(records, 3)
    with records.read() as connection:
        kept = list(audit.entries(connection))
        anchor = audit.head(connection)
    assert [(entry.seq, entry.body) for entry in kept] == [(1, {"batch": 0}), (2, {"batch": 1}), (3, {"batch": 2})]
    assert kept[1].previous_hash == kept[0].hash
    assert kept[0].previous_hash == audit.GENESIS
    assert findings(records, anchor) == []


def test_entries_are_picked_by_kind(records: Records) -> None:
    write(records, 2, kind="sent")
    write(records, 1, kind="stopped")
    with records.read() as connection:
        assert [entry.seq for entry in audit.entries(connection, "stopped")] == [3]


@pytest.mark.parametrize(
    "statement",
    [
        "update audit set body = '{}' where seq = 1",
        "delete from audit where seq = 2",
        "delete from audit",
    ],
)
def test_the_database_refuses_to_change_the_chain(records: Records, statement: str) -> None:
    write(records, 2)
    with pytest.raises(DBAPIError, match="audit only grows"), records.begin() as connection:
        connection.execute(text(statement))
    assert findings(records) == []


@pytest.mark.parametrize("way", ["insert or replace", "insert"])
def test_sqlite_refuses_to_replace_an_entry(sqlite_records: Records, way: str) -> None:
    write(sqlite_records, 2)
    statement = f"{way} into audit (seq, at, kind, body, previous_hash, hash) values (1, :at, 'sent', '{{}}', 'x', 'y')"
    with pytest.raises(DBAPIError, match="audit only grows"), sqlite_records.begin() as connection:
        connection.execute(text(statement), {"at": "2024-07-01 12:00:00.000000"})


def test_postgres_refuses_to_empty_the_chain(postgres_records: Records) -> None:
    write(postgres_records, 2)
    with pytest.raises(DBAPIError, match="audit only grows"), postgres_records.begin() as connection:
        connection.execute(text("truncate audit cascade"))


def test_many_who_append_at_once_stand_in_one_line(records: Records) -> None:
    threads = [threading.Thread(target=write, args=(records, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with records.read() as connection:
        assert audit.head(connection).seq == 20
    assert findings(records) == []


def test_what_is_read_under_the_lock_is_still_true_when_we_append(records: Records) -> None:
    def decide_once() -> None:
        with records.begin() as connection:
            audit.hold(connection)
            if not list(audit.entries(connection, "decided")):
                audit.append(connection, kind="decided", body={}, at=NOON)

    threads = [threading.Thread(target=decide_once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with records.read() as connection:
        assert len(list(audit.entries(connection, "decided"))) == 1


def test_an_entry_taken_back_leaves_no_gap(records: Records) -> None:
    write(records)
    with records.begin(dry_run=True) as connection:
        audit.append(connection, kind="sent", body={}, at=NOON)
    write(records)
    assert findings(records) == []


def test_half_a_signature_is_refused(records: Records) -> None:
    with pytest.raises(ValueError, match="a signer and a signature"), records.begin() as connection:
        audit.append(connection, kind="sent", body={}, at=NOON, signer="ana")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("update audit set body = '{\"batch\":9}' where seq = 2", [(2, "changed")]),
        ("update audit set kind = 'stopped' where seq = 3", [(3, "changed")]),
        (
            "update audit set signer = 'eve', signature = 'x' where seq = 3",
            [(3, "changed"), (3, "eve was not registered")],
        ),
        ("delete from audit where seq in (2, 3)", [(2, "entries 2 to 3 are missing")]),
        ("delete from audit where seq = 1", [(1, "entries 1 to 1 are missing")]),
        ("update audit set hash = 'f' where seq = 2", [(2, "changed"), (3, "does not follow")]),
    ],
)
def test_tampering_is_found_at_its_entry(records: Records, statement: str, expected: list[tuple[int, str]]) -> None:
    write(records, 4)
    tamper(records, statement)
    found = findings(records)
    assert [finding.seq for finding in found] == [seq for seq, _ in expected]
    assert all(words in finding.what for finding, (_, words) in zip(found, expected, strict=True))


def test_an_entry_written_anew_with_its_hash_is_found_at_the_next_one(records: Records) -> None:
    write(records, 3)
    tamper(records, "update audit set body = '{\"batch\":9}' where seq = 2")
    with records.read() as connection:
        changed = connection.execute(select(audit_table).where(audit_table.c.seq == 2)).one()
    tamper(records, f"update audit set hash = '{audit.row_hash(changed)}' where seq = 2")
    assert findings(records) == [Finding(3, "does not follow the entry before it")]


def test_an_end_cut_off_is_found_by_the_anchor_alone(records: Records) -> None:
    write(records, 4)
    with records.read() as connection:
        anchor = audit.head(connection)
    tamper(records, "delete from audit where seq > 2")
    assert findings(records) == []
    assert findings(records, anchor) == [Finding(3, "entries up to 4 are missing at the end")]


def test_an_end_written_anew_is_found_by_the_anchor(records: Records) -> None:
    write(records, 3)
    with records.read() as connection:
        anchor = audit.head(connection)
    tamper(records, "delete from audit where seq = 3")
    write(records, 2)
    assert findings(records, anchor) == [Finding(3, "is not the entry that the anchor names")]


def test_an_anchor_may_be_a_hash_alone(records: Records) -> None:
    write(records, 3)
    with records.read() as connection:
        second = [entry.hash for entry in audit.entries(connection)][1]
    assert findings(records, Anchor.read(second)) == []
    assert findings(records, Anchor.read("a" * 64)) == [Finding(4, "no entry has the hash aaaaaaaaaaaa of the anchor")]
    assert findings(records, Anchor(0, audit.GENESIS)) == []


def append_and_fail(connection: Connection) -> None:
    audit.append(connection, kind="sent", body={}, at=NOON)
    connection.execute(text("delete from audit"))


def test_the_head_is_kept_beside_the_records_once_an_entry_is_committed(records: Records, home: Path) -> None:
    kept = Records(records.engine, home / "audit_head")
    write(kept, 2)
    with kept.begin(dry_run=True) as connection:
        audit.append(connection, kind="sent", body={}, at=NOON)
    with pytest.raises(DBAPIError), kept.begin() as connection:
        append_and_fail(connection)
    with kept.begin() as connection:
        head = audit.head(connection)
    assert kept.kept_head() == head == Anchor(2, head.hash)
    assert stat.S_IMODE((home / "audit_head").stat().st_mode) == 0o600
    write(kept)
    assert findings(kept, kept.kept_head()) == []


def test_a_head_that_the_chain_has_lost_stays_as_proof(records: Records, home: Path) -> None:
    kept = Records(records.engine, home / "audit_head")
    write(kept, 3)
    tamper(kept, "delete from audit where seq = 3")
    assert findings(kept, kept.kept_head()) == [Finding(3, "entries up to 3 are missing at the end")]
    write(kept, 2, kind="stopped")
    assert findings(kept, kept.kept_head()) == [Finding(3, "is not the entry that the anchor names")]


def test_a_kept_head_that_cannot_be_read_is_a_finding_and_stops_no_decision(records: Records, home: Path) -> None:
    kept = Records(records.engine, home / "audit_head")
    (home / "audit_head").write_bytes(b"\xff and then a letter")
    write(kept)
    [finding] = findings(kept, kept.kept_head())
    assert "of the anchor" in finding.what


def test_a_signature_of_the_registered_key_is_in_order(records: Records) -> None:
    with records.begin() as connection:
        register(connection)
        write_signed(connection, "approved", {"use_case": "aki_48h"})
    assert findings(records) == []


def test_a_signature_of_another_key_is_found(records: Records) -> None:
    with records.begin() as connection:
        register(connection)
        write_signed(connection, "approved", {}, key=Ed25519PrivateKey.generate())
        audit.append(connection, kind="approved", body={}, at=NOON, signer="ana", signature="no hex")
    assert findings(records) == [Finding(seq, "is not signed with the key of ana") for seq in (2, 3)]


def test_a_signature_used_for_a_second_entry_is_found(records: Records) -> None:
    with records.begin() as connection:
        register(connection)
        for _ in range(2):
            write_signed(connection, "stage_set", {"stage": "silent"})
    assert findings(records) == [Finding(3, "carries a signature that was used before")]


def test_a_decision_without_a_signature_is_found(records: Records) -> None:
    with records.begin() as connection:
        register(connection)
        audit.append(connection, kind="stage_set", body={"stage": "live"}, at=NOON)
        register(connection, "eve", key="another")
    assert findings(records) == [Finding(2, "is not signed"), Finding(3, "is not signed")]


def test_a_signature_before_registration_or_after_removal_is_found(records: Records) -> None:
    with records.begin() as connection:
        write_signed(connection, "approved", {"n": "1"})
        register(connection)
        seq = write_signed(connection, "person_removed", {"name": "ana"})
        connection.execute(person.update().values(removed_seq=seq))
        write_signed(connection, "approved", {"n": "2"})
    assert findings(records) == [Finding(seq, "ana was not registered at that time") for seq in (1, 4)]


def test_one_key_is_not_registered_for_two(records: Records) -> None:
    with records.begin() as connection:
        register(connection)
    with pytest.raises(IntegrityError), records.begin() as connection:
        register(connection, "eve", "engineer")


@pytest.mark.parametrize(("name", "key"), [("eve", PUBLIC), ("ANA", "another"), ("a na", "another")])
def test_a_second_name_of_one_person_is_found(records: Records, name: str, key: str) -> None:
    with records.begin() as connection:
        register(connection, role="engineer")
        body = {"name": name, "role": "engineer", "public_key": key}
        audit.append(connection, kind="person_added", body=body, at=NOON)
    assert Finding(2, f"registers {name}, who by name or key is ana") in findings(records)


def test_a_body_that_is_no_document_is_found_as_changed(records: Records) -> None:
    write(records, 2)
    tamper(records, "update audit set body = 'nothing', kind = 'promoted' where seq = 2")
    assert findings(records)[0] == Finding(2, "was changed after it was written")


def test_people_are_added_by_governance_alone(records: Records) -> None:
    with records.begin() as connection:
        register(connection, "ana", "engineer")
        body = {"name": "eve", "role": "governance", "public_key": "another"}
        seq = write_signed(connection, "person_added", body)
        connection.execute(insert(person).values(**body, added_seq=seq))
    assert findings(records) == [Finding(2, "ana is not of governance")]


@pytest.mark.parametrize(
    "statement",
    [
        "update person set role = 'clinician'",
        "update person set public_key = 'another'",
        "delete from person",
        "insert into person select 'eve', role, 'another', added_seq, null from person",
    ],
)
def test_a_register_of_people_that_differs_from_the_chain_is_found(records: Records, statement: str) -> None:
    with records.begin() as connection:
        register(connection)
        connection.execute(text(statement))
    name = "eve" if "eve" in statement else "ana"
    assert findings(records) == [Finding(1, f"the register of people differs from the chain for {name}")]
