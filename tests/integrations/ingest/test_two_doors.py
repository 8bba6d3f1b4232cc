"""One patient through two feeds: the EHR in FHIR, the laboratory in HL7 v2; read as a use case reads it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from integrations.duck import connect
from integrations.ingest import ledger
from integrations.snapshot import Feed
from tests.integrations.ingest.conftest import CODES, FIRST_NIGHT, LAB, MRN, Ward, patient, result

OURS = "LAB&1.2.3&ISO"
HEAD = r"MSH|^~\&|LIS|LAB|EHR|LAB|20240310040000||{kind}|{control}|P|2.5.1"
FEEDS = [
    Feed(
        source=name,
        site_id="north",
        time_zone="America/Chicago",
        lateness=timedelta(days=1),
        is_authoritative_for=("observation",) if name == "lab" else (),
    )
    for name in ("ward", "lab")
]


@dataclass
class TwoDoors:
    """A ward that sends FHIR, and a laboratory that sends messages."""

    ward: Ward
    sent: int = 0

    def lab(self, *segments: str, night: int = 1, kind: str = "ORU^R01") -> Any:
        """The laboratory sends one message."""
        self.sent += 1
        folder = self.ward.extract()
        lines = [HEAD.format(kind=kind, control=self.sent), *segments]
        (folder / "night.hl7").write_text("\r".join(lines) + "\r")
        return self.ward.ingest(folder, night=night, source="lab")

    def seen(self, night: float, mrn: str = "m1") -> list[tuple[Any, ...]]:
        """Values of the person whom the laboratory knows by this number, as known in some night, by source."""
        at = (FIRST_NIGHT + timedelta(days=night)).isoformat()
        with self.ward.records.read() as db, connect(self.ward.places.temp, memory_limit_mb=100) as connection:
            _, versions = ledger.newest_snapshot(db)
            self.ward.places.lake.open_snapshot(connection, versions, feeds=FEEDS)
            return connection.execute(
                """
                select o.source, o.value_number
                from same_person as p
                join observation as o on o.patient_id = p.other_patient_id
                where p.patient_id = $patient_id and p.available_at <= $at and $at < p.superseded_at
                  and o.available_at <= $at and $at < o.superseded_at and not o.is_retracted
                order by all
                """,
                {"patient_id": f"lab/{mrn}", "at": at},
            ).fetchall()


@pytest.fixture
def doors(open_ward: Ward) -> TwoDoors:
    folder = open_ward.places.sources / "lab"
    contract = LAB.replace("kind: fhir", f'kind: hl7v2\nperson_systems: ["{MRN}"]\nis_authoritative_for: [observation]')
    links = '  patient_link: {files: ["*.hl7"], history: {available_at: always}}\n'
    (folder / "contract.yaml").write_text(contract.replace("*.ndjson", "*.hl7") + links)
    (folder / "codes.csv").write_text(CODES.replace("http://loinc.org", "LN"))
    return TwoDoors(open_ward)


def of_lab(
    value: float, order: str = "A1", mrn: str = "m1", collected: str = "20240302100000", status: str = "F"
) -> list[str]:
    """A creatinine in the laboratory's words."""
    return [
        f"PID|1||{mrn}^^^{OURS}^MR",
        f"OBR|1|P1|{order}|1^Panel^L|||{collected}|||||||||||||||20240302110000|||F",
        f"OBX|1|NM|2160-0^Creatinine^LN||{value}|mg/dL|||||{status}",
    ]


def of_ehr(value: float, order: str | None = "A1", id: str = "o1", of: str = "p1") -> dict[str, Any]:
    """The same in the EHR's, with the laboratory's number."""
    filler = {"type": {"coding": [{"code": "FILL"}]}, "value": order}
    return result(id, value, of=of, stay=None, **({"identifier": [filler]} if order else {}))


def test_a_person_is_one_whichever_feed_knows_them_by_which_number(doors: TwoDoors) -> None:
    doors.ward.send(
        Patient=[patient("p1", "m1"), patient("p2", "m2")],
        Observation=[of_ehr(1.0, None), of_ehr(8.0, None, "o2", "p2")],
    )
    doors.lab(*of_lab(1.2))
    assert doors.seen(1) == [("lab", 1.2), ("ward", 1.0)]
    assert doors.seen(1, "m2") == []  # nothing links a number that the laboratory has not sent yet


def test_a_result_that_comes_through_both_doors_is_one_and_the_authority_is_believed(doors: TwoDoors) -> None:
    doors.ward.send(Patient=[patient("p1", "m1")], Observation=[of_ehr(1.1)])
    doors.lab(*of_lab(1.2), night=2)
    doors.ward.send(night=3, Observation=[of_ehr(1.15)])
    assert doors.seen(2.5) == [("lab", 1.2)]
    assert doors.seen(3) == [("lab", 1.2)]  # a later version of the copy says nothing new


def test_until_the_authority_has_brought_it_the_copy_counts(doors: TwoDoors) -> None:
    doors.ward.send(Patient=[patient("p1", "m1")], Observation=[of_ehr(1.1)])
    doors.lab(*of_lab(0.9, order="A0"), night=1)
    doors.lab(*of_lab(1.2), night=3)
    assert doors.seen(2) == [("lab", 0.9), ("ward", 1.1)]
    assert doors.seen(3) == [("lab", 0.9), ("lab", 1.2)]


def test_a_result_that_the_authority_takes_back_does_not_live_on_as_its_copy(doors: TwoDoors) -> None:
    doors.ward.send(Patient=[patient("p1", "m1")], Observation=[of_ehr(1.1)])
    doors.lab(*of_lab(1.2), night=1)
    doors.lab(*of_lab(1.2, status="D"), night=2)
    assert doors.seen(1) == [("lab", 1.2)]
    assert doors.seen(2) == []


@pytest.mark.parametrize(
    "other",
    [
        of_lab(1.2, order="A2"),
        of_lab(1.2, collected="20240302103000"),
    ],
)
def test_another_order_or_another_draw_is_another_result(doors: TwoDoors, other: list[str]) -> None:
    doors.ward.send(Patient=[patient("p1", "m1")], Observation=[of_ehr(1.1)])
    doors.lab(*other, night=1)
    assert doors.seen(1) == [("lab", 1.2), ("ward", 1.1)]


def test_a_number_that_two_feeds_use_for_two_people_joins_nobody(doors: TwoDoors) -> None:
    """The EHR's p7 and the laboratory's p7 are two people; so are two of one order number."""
    doors.ward.send(
        Patient=[patient("p7", "m1"), patient("p8", "p7")],
        Observation=[of_ehr(1.1, of="p7"), of_ehr(3.3, None, "o2", "p8")],
    )
    doors.lab(*of_lab(4.4, mrn="p7"))
    assert doors.seen(1, "p7") == [("lab", 4.4), ("ward", 3.3)]
    doors.lab(*of_lab(0.9, order="A9"), night=2)
    assert doors.seen(2, "m1") == [("lab", 0.9), ("ward", 1.1)]


def test_a_merge_joins_two_records_and_a_number_that_is_no_longer_sent_joins_them_still(doors: TwoDoors) -> None:
    doors.ward.send(Patient=[patient("p1", "m1"), patient("p2", "m2")])
    doors.lab(*of_lab(1.2))
    doors.lab(*of_lab(2.2, order="A2", mrn="m2"))
    merged = patient("p2", "m2")
    merged["identifier"].append({"system": MRN, "value": "m1"})
    doors.ward.send(night=2, Patient=[merged])
    doors.ward.send(night=4, Patient=[patient("p2", "m2")])
    assert doors.seen(1) == [("lab", 1.2)]
    assert doors.seen(3) == [("lab", 1.2), ("lab", 2.2)]
    assert doors.seen(3, "m2") == doors.seen(3) == doors.seen(5)


def test_a_result_that_precedes_its_patient_is_known_from_its_uptake_on(doors: TwoDoors) -> None:
    waits = doors.lab(*of_lab(1.2, mrn="m5"))
    assert waits.accounts["observation"].waiting == 1
    doors.ward.send(night=3, Patient=[patient("p5", "m5")])
    assert doors.seen(2, "m5") == []
    assert doors.seen(3, "m5") == [("lab", 1.2)]


def test_an_order_number_that_comes_again_for_another_patient_leaves_the_first_one_alone(doors: TwoDoors) -> None:
    doors.ward.send(Patient=[patient("p1", "m1"), patient("p2", "m2")])
    doors.lab(*of_lab(1.2))
    doors.lab(*of_lab(2.2, mrn="m2", collected="20240309100000"), night=2)
    assert (doors.seen(3), doors.seen(3, "m2")) == ([("lab", 1.2)], [("lab", 2.2)])


@pytest.mark.parametrize("is_withdrawn_first", [True, False])
def test_a_result_of_the_wrong_patient_is_withdrawn_there_and_stays_with_the_right_one(
    doors: TwoDoors, is_withdrawn_first: bool
) -> None:
    doors.ward.send(Patient=[patient("p1", "m1"), patient("p2", "m2")])
    doors.lab(*of_lab(1.2))
    told = [of_lab(1.2, status="W"), of_lab(1.2, mrn="m2")]
    for night, sent in enumerate(told if is_withdrawn_first else told[::-1], 2):
        doors.lab(*sent, night=night)
    assert doors.seen(1) == [("lab", 1.2)]
    assert (doors.seen(3), doors.seen(3, "m2")) == ([], [("lab", 1.2)])


@pytest.mark.parametrize(("status", "known"), [("C", [("lab", 2.0)]), ("D", [])])
def test_after_a_merge_a_result_is_corrected_or_withdrawn_under_the_number_that_stays(
    doors: TwoDoors, status: str, known: list[tuple[str, float]]
) -> None:
    doors.ward.send(Patient=[patient("p1", "m1"), patient("p2", "m2")])
    doors.lab(*of_lab(2.2, mrn="m2"))
    doors.lab(*of_lab(1.2, order="A7", collected="20240301100000"))
    merged = patient("p2", "m2")
    merged["identifier"].append({"system": MRN, "value": "m1"})
    doors.ward.send(night=2, Patient=[merged])
    doors.lab(*of_lab(2.0, status=status), night=3)
    before, after = doors.seen(2), doors.seen(3)
    assert before == [("lab", 1.2), ("lab", 2.2)]
    assert after == doors.seen(3, "m2") == [("lab", 1.2), *known]


def test_a_result_that_is_told_once_more_under_the_old_number_changes_nothing_of_what_was_known_before(
    doors: TwoDoors,
) -> None:
    doors.ward.send(Patient=[patient("p1", "m1"), patient("p2", "m2")])
    doors.lab(*of_lab(2.2, mrn="m2"))
    merged = patient("p2", "m2")
    merged["identifier"].append({"system": MRN, "value": "m1"})
    doors.ward.send(night=2, Patient=[merged])
    doors.lab(*of_lab(2.0, status="C"), night=3)
    assert doors.seen(4) == [("lab", 2.0)]
    doors.lab(*of_lab(2.4, mrn="m2", status="C"), night=5)
    assert doors.seen(4) == [("lab", 2.0)]


def test_results_that_are_written_alike_wait_and_come_in_each_by_itself(doors: TwoDoors) -> None:
    for mrn, order in (("m5", "A5"), ("m5", "A6"), ("m6", "A7")):
        doors.lab(*of_lab(1.2, order=order, mrn=mrn))
    assert doors.ward.report("observation", "lab")["waiting"] == 3
    doors.ward.send(night=3, Patient=[patient("p5", "m5"), patient("p6", "m6")])
    report = doors.ward.report("observation", "lab")
    assert (report["waiting"], report["records"], report["versions"]) == (0, 3, 3)


def test_a_merge_in_messages_is_a_link_and_an_unlinking_takes_it_back(doors: TwoDoors) -> None:
    registers_patients(doors)
    for mrn, value, order in (("m1", 1.2, "A1"), ("m2", 2.2, "A2")):
        doors.lab(*of_lab(value, order=order, mrn=mrn))
    doors.lab(f"PID|1||m1^^^{OURS}^MR", f"MRG|m2^^^{OURS}^MR", night=2, kind="ADT^A40")
    doors.lab(f"PID|1||m1^^^{OURS}^MR", f"PID|2||m2^^^{OURS}^MR", night=4, kind="ADT^A37")
    assert doors.seen(1) == [("lab", 1.2)]
    assert doors.seen(3) == doors.seen(3, "m2") == [("lab", 1.2), ("lab", 2.2)]
    assert (doors.seen(4), doors.seen(4, "m2")) == ([("lab", 1.2)], [("lab", 2.2)])


def test_a_copy_is_seen_again_once_the_merge_is_undone_by_which_it_was_one(doors: TwoDoors) -> None:
    registers_patients(doors)
    doors.ward.send(Patient=[patient("p2", "m2")], Observation=[of_ehr(1.1, of="p2")])
    doors.lab(f"PID|1||m1^^^{OURS}^MR", f"MRG|m2^^^{OURS}^MR", night=2, kind="ADT^A40")
    doors.lab(*of_lab(1.2), night=3)
    doors.lab(f"PID|1||m1^^^{OURS}^MR", f"PID|2||m2^^^{OURS}^MR", night=5, kind="ADT^A37")
    assert doors.seen(2, "m2") == doors.seen(2) == [("ward", 1.1)]
    assert doors.seen(3, "m2") == doors.seen(3) == [("lab", 1.2)]
    assert (doors.seen(5), doors.seen(5, "m2")) == ([("lab", 1.2)], [("ward", 1.1)])


def registers_patients(doors: TwoDoors) -> None:
    """The laboratory tells of patients itself: of m1 and m2 at first."""
    folder = doors.ward.places.sources / "lab" / "contract.yaml"
    own = folder.read_text().replace("source: ward}", "source: lab}") + (
        '  patient: {files: ["*.hl7"], history: {available_at: always}}\n'
    )
    folder.write_text(own)
    for mrn in ("m1", "m2"):
        doors.lab(f"PID|1||{mrn}^^^{OURS}^MR||||19500101|F", kind="ADT^A04")
