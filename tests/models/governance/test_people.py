"""Who may sign, and how they come and go."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text

from integrations.errors import Refused, WrongUsage
from models.governance.people import add_person, list_people, remove_person, trainer_of_name
from models.governance.signing import Signer, load_signer
from tests.models.governance.conftest import Office


def test_the_owner_of_the_home_adds_the_first_person(empty_office: Office) -> None:
    signer = empty_office.add("gero", "governance")
    (person,) = list_people(empty_office.records)
    assert (person.name, person.role, person.public_key) == ("gero", "governance", signer.public_key)
    assert empty_office.findings() == []


def test_the_private_key_is_for_its_owner_alone_and_never_in_the_records(empty_office: Office) -> None:
    empty_office.add("gero", "governance")
    key_file = empty_office.home / "gero.pem"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    private = key_file.read_text().splitlines()[1]
    with empty_office.records.read() as connection:
        told = [str(connection.execute(text(f"select * from {name}")).all()) for name in ("audit", "person")]
    assert all(private not in words and empty_office.signers["gero"].public_key in words for words in told)


def test_somebody_else_cannot_add_the_first_person(empty_office: Office) -> None:
    foreign = empty_office.home.parent / "foreign"
    foreign.mkdir()
    if os.geteuid() == 0:
        os.chown(foreign, 65534, -1)
    else:
        foreign = Path("/")
    with pytest.raises(Refused, match="owner of ROUNDS_HOME"):
        empty_office.add("eve", "governance", home=foreign)
    assert not (empty_office.home / "eve.pem").exists()
    assert list_people(empty_office.records) == []


def test_later_people_need_the_signature_of_governance(office: Office) -> None:
    with pytest.raises(Refused, match="needs a governance person's signature"):
        office.add("eve", "engineer")
    with pytest.raises(Refused, match="clara has the role clinician, this needs governance"):
        office.add("eve", "engineer", by="clara")
    office.add("eve", "engineer", by="gero")
    assert [person.name for person in list_people(office.records)] == ["clara", "emil", "eve", "gero"]
    assert office.findings() == []


def test_a_first_engineer_does_not_lock_governance_out(empty_office: Office) -> None:
    empty_office.add("emil", "engineer")
    with pytest.raises(Refused, match="a governance person first"):
        empty_office.add("clara", "clinician")
    empty_office.add("gero", "governance")
    with pytest.raises(Refused, match="needs a governance person's signature"):
        empty_office.add("eve", "governance")
    assert empty_office.findings() == []


def test_a_key_file_is_not_overwritten(office: Office) -> None:
    before = (office.home / "emil.pem").read_bytes()
    with pytest.raises(Refused, match="not overwritten"):
        office.add("eve", "engineer", by="gero", key_out=office.home / "emil.pem")
    assert (office.home / "emil.pem").read_bytes() == before


def test_a_key_that_cannot_be_written_registers_nobody(office: Office) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        office.add("eve", "engineer", by="gero", key_out=office.home / "no folder" / "eve.pem")
    assert "eve" not in {person.name for person in list_people(office.records)}


def test_a_name_is_used_once(office: Office) -> None:
    remove_person(office.records, name="emil", signer=office.signers["gero"], reason="left", as_of=office.now())
    with pytest.raises(Refused, match="is or was in use"):
        office.add("emil", "engineer", by="gero", key_out=office.home / "new.pem")
    assert not (office.home / "new.pem").exists()


@pytest.mark.parametrize("name", ["Emil", "EMIL", "e mil", "e.mil", "\uff45mil"])
def test_a_name_that_looks_like_a_registered_one_is_refused(office: Office, name: str) -> None:
    with pytest.raises(Refused, match="is or was in use, as emil"):
        office.add(name, "engineer", by="gero")
    assert not (office.home / f"{name}.pem").exists()


def test_a_trainer_is_named_as_the_register_names_them(office: Office) -> None:
    assert trainer_of_name(office.records, "EMIL") == "emil"
    with pytest.raises(Refused, match=r"emli is not registered(.|\n)*did you mean emil\?"):
        trainer_of_name(office.records, "emli")


def test_before_anybody_is_registered_every_name_may_train_but_none_that_is_no_name(empty_office: Office) -> None:
    assert trainer_of_name(empty_office.records, "emil") == "emil"
    for name in ("service:train", "Unnamed", "- -"):
        with pytest.raises(WrongUsage, match="no name of a person"):
            trainer_of_name(empty_office.records, name)


def test_somebody_removed_does_not_train(office: Office) -> None:
    remove_person(office.records, name="emil", signer=office.signers["gero"], reason="left", as_of=office.now())
    with pytest.raises(Refused, match="emil is not registered"):
        trainer_of_name(office.records, "emil")


@pytest.mark.parametrize(
    ("name", "role"), [("service:train", "engineer"), ("", "engineer"), ("unnamed", "engineer"), ("eve", "king")]
)
def test_a_name_or_role_that_is_none_is_wrong_usage(empty_office: Office, name: str, role: str) -> None:
    with pytest.raises(WrongUsage, match="cannot be registered"):
        empty_office.add(name, role)


def test_a_dry_run_adds_nobody_and_writes_no_key(office: Office) -> None:
    key_out, gero = office.home / "eve.pem", office.signers["gero"]
    planned = add_person(
        office.records,
        name="eve",
        role="engineer",
        key_out=key_out,
        as_of=office.now(),
        signer=gero,
        home=office.home,
        dry_run=True,
    )
    assert (planned.name, key_out.exists(), office.entries()) == ("eve", False, 3)


def test_a_removed_person_signs_nothing_more(office: Office) -> None:
    office.train(1)
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    with pytest.raises(Refused, match="clara was removed by entry 4"):
        office.approve(1, "clara")
    assert [person.name for person in list_people(office.records) if person.is_removed] == ["clara"]
    assert office.findings() == []


def test_only_governance_removes_and_never_its_last_one(office: Office) -> None:
    def remove(name: str, by: str) -> None:
        remove_person(office.records, name=name, signer=office.signers[by], reason="left", as_of=office.now())

    with pytest.raises(Refused, match="emil has the role engineer"):
        remove("clara", "emil")
    with pytest.raises(Refused, match="last one of governance"):
        remove("gero", "gero")
    with pytest.raises(Refused, match="not registered"):
        remove("nobody", "gero")
    office.add("greta", "governance", by="gero")
    remove("gero", "greta")
    with pytest.raises(Refused, match="removed before"):
        remove("gero", "greta")


def test_a_stranger_and_a_key_of_another_are_refused(office: Office) -> None:
    office.train(1)
    office.signers["stranger"] = Signer("stranger", office.signers["clara"].key)
    with pytest.raises(Refused, match="stranger is not registered"):
        office.approve(1, "stranger")
    office.signers["gero"] = Signer("gero", office.signers["clara"].key)
    with pytest.raises(Refused, match="not the key of gero"):
        office.approve(1, "gero")
    assert office.entries() == 3


def test_a_register_changed_behind_the_chain_is_found(office: Office) -> None:
    with office.records.begin() as connection:
        connection.execute(text("update person set role = 'governance' where name = 'emil'"))
    assert [finding.seq for finding in office.findings()] == [3]


def test_a_file_that_holds_no_usable_key_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    with pytest.raises(WrongUsage, match="cannot be read"):
        load_signer("gero", file)
    file.write_text("a letter")
    with pytest.raises(WrongUsage, match="no private key"):
        load_signer("gero", file)
    other = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(WrongUsage, match="Ed25519"):
        load_signer("gero", file)


def test_a_signer_never_shows_the_key(office: Office) -> None:
    assert repr(office.signers["gero"]) == "Signer(name='gero')"
