"""The nights of the synthetic hospital as ingest judges them, drawn straight into DuckDB: for stories of many nights.

The figures and the judgement are the real ones; only the doors are left out, so that a night costs milliseconds. What
ingest would have said of a row (fault, code, converted value) is said here by the same files: analytes.csv, codes.csv.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from sqlalchemy import insert

from integrations.codes import load_analytes, load_codes
from integrations.contract import SOURCES, load_contract
from integrations.duck import connect
from integrations.ingest.batches import suspect_batches
from integrations.records import Records
from integrations.records.schema import extract
from integrations.synthetic_hospital.calendar import extract_taken_at, instants
from integrations.synthetic_hospital.catalogue import CREATININE_IN_UMOL, ITEMS, LABORATORY, WARDS
from integrations.synthetic_hospital.fhir_results import loinc_of, unit_and_decimals
from integrations.synthetic_hospital.frames import Contacts, Results
from integrations.synthetic_hospital.hospital import Hospital, draw_bucket
from integrations.synthetic_hospital.scenarios import night_sent
from integrations.watch import measure
from integrations.watch.extent import Extent
from integrations.watch.finding import Found
from integrations.watch.judge import judge
from integrations.watch.kept import note_figures, note_findings
from integrations.watch.past import before_at

STATUSES = ("final", "corrected", "entered_in_error")
PASSED_ON = ("CBC",)  # of the laboratory the EHR passes these on
LIMITS = load_analytes()
Spoil = Callable[[duckdb.DuckDBPyConnection], None]


@cache
def drawn(hospital: Hospital) -> tuple[pa.Table, pa.Table]:
    """All results after go-live and all wards of the stays of a hospital: (result, place)."""
    results, places = [], []
    for number in range(hospital.bucket_count):
        bucket = draw_bucket(hospital, number)
        nights = night_sent(bucket.results, hospital.cuts)
        is_sent = (nights > 0) & (nights <= hospital.nights)
        results.append(_results(bucket.results.take(is_sent), nights[is_sent], bucket.patients.number))
        places.append(_places(bucket.contacts))
    return pa.concat_tables(results), pa.concat_tables(places)


def _results(sent: Results, night: np.ndarray, patients: np.ndarray) -> pa.Table:
    kinds = np.stack([sent.item, sent.unit, sent.code])
    keys, row = np.unique(kinds, axis=1, return_inverse=True)
    codes = [loinc_of(int(item), int(code)) for item, _, code in keys.T]
    units = [unit_and_decimals(int(item), int(unit))[0] for item, unit, _ in keys.T]
    is_known = np.array([code == 0 for _, _, code in keys.T])[row]
    loinc = np.array(codes, dtype=object)[row]
    factor = np.where(sent.unit == 1, 1 / CREATININE_IN_UMOL, 1.0)
    return pa.table(
        {
            "night": night,
            "item": sent.item,
            "number": sent.number,
            "patient_id": patients[sent.patient].astype(str),
            "encounter_id": np.char.add("demo_ehr/e", sent.contact.astype(str)),
            "local_code": pa.array(np.where(is_known, loinc, None), pa.string()),
            "unknown_code": pa.array(np.where(is_known, None, loinc), pa.string()),
            "code": pa.array(np.where(is_known, loinc, None), pa.string()),
            "sent_unit": pa.array(np.array(units, dtype=object)[row], pa.string()),
            "sent_number": sent.value,
            "value_number": pa.array(sent.value * factor, mask=~is_known),
            "status": pa.array(np.array(STATUSES, dtype=object)[sent.status], pa.string()),
            "is_retracted": sent.status == 2,
            "effective_at": _instants(sent.collected),
            "issued_at": _instants(sent.issued),
        }
    )


def _places(contacts: Contacts) -> pa.Table:
    """One row per stay in a ward, with its true end."""
    parts = []
    for place in range(3):
        is_there = contacts.wards[:, place] >= 0
        end = contacts.end.copy()
        if place < 2:
            moves_on = contacts.wards[:, place + 1] >= 0
            end = np.where(moves_on, contacts.moved_at[:, place + 1], end)
        number = contacts.number[is_there].astype(str)
        parts.append(
            pa.table(
                {
                    "location_id": np.char.add(np.char.add("demo_ehr/e", number), f"#{place + 1}"),
                    "encounter_id": np.char.add("demo_ehr/e", number),
                    "ward": pa.array(np.array(WARDS, dtype=object)[contacts.wards[is_there, place]], pa.string()),
                    "started_at": _instants(contacts.moved_at[is_there, place]),
                    "ended_at": _instants(end[is_there]),
                }
            )
        )
    return pa.concat_tables(parts)


def _instants(days: np.ndarray) -> pa.Array:
    return pa.array(instants(days).astype("datetime64[us]"), pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


@dataclass
class Nights:
    """A feed of a hospital that is watched night after night."""

    source: str
    records: Records
    connection: duckdb.DuckDBPyConnection
    hospital: Hospital

    def learn(self, nights: Sequence[int], *, is_all: bool = True) -> None:
        """Take in nights of which only the figures are wanted: what is usual. is_all false: those of wards alone."""
        for night in nights:
            extent = self.measured(night, None, is_all=is_all)
            self._keep(extent, [])

    def play(self, nights: Sequence[int], spoil: Spoil | None = None, *, keep: bool = True) -> list[Found]:
        """Take in these nights, each spoilt by a function that may change `judged`; return what was found in them."""
        found = []
        for night in nights:
            found += self._night(night, spoil, keep)
        return found

    def _night(self, night: int, spoil: Spoil | None, keep: bool) -> list[Found]:
        extent = self.measured(night, spoil)
        with self.records.read() as db:
            found = judge(self.connection, db, extent, loinc_codes(self.source))
        if keep:
            self._keep(extent, found)
        return found

    def extent(self, night: int) -> Extent:
        """What the extract of a night covers."""
        extract_id = f"{self.source}-{night:03d}"
        with self.records.read() as db:
            before = before_at(db, self.source, extract_id, extract_taken_at(night))
        return Extent(
            contract=load_contract(self.source),
            extract_id=extract_id,
            received_at=extract_taken_at(night),
            is_history=False,
            before_at=before,
        )

    def measured(self, night: int, spoil: Spoil | None, *, is_all: bool = True) -> Extent:
        """Take the figures of a night and keep none of them."""
        extent = self.extent(night)
        measure.begin(self.connection)
        self.connection.execute(PLACED, {"until": extent.received_at})  # as the EHR has told until this night
        if self.source == "demo_ehr":
            self.connection.execute(MOVED, {"since": extent.since_at, "until": extent.received_at})
            measure.measure_table(self.connection, extent, "encounter_location", 0)
        is_lis = self.source == "demo_lis"
        self.connection.execute(JUDGED, {"night": night, "is_lis": is_lis, "laboratory": len(LABORATORY)})
        suspect_batches(self.connection)
        if spoil:
            spoil(self.connection)
        if not is_all:
            measure.measure_volume(self.connection, extent)
            return extent
        [(repeated,)] = self.connection.execute("select count(*) filter (is_repeated) from judged").fetchall()
        measure.measure_table(self.connection, extent, "observation", repeated)
        if (
            is_lis
            and self.connection.execute("select 1 from duckdb_tables() where table_name = 'sent_message'").fetchall()
        ):
            measure.measure_senders(self.connection, extent)
        return extent

    def _keep(self, extent: Extent, found: list[Found]) -> None:
        with self.records.begin() as db:
            db.execute(
                insert(extract).values(
                    extract_id=extent.extract_id,
                    source=self.source,
                    site_id="demo",
                    received_at=extent.received_at,
                    digest=extent.extract_id,
                    is_history=0,
                    status="committed",
                )
            )
            note_figures(self.connection, db, extent)
            note_findings(db, extent, found)


@cache
def loinc_codes(source: str) -> frozenset[str]:
    return frozenset(code.loinc for code in load_codes(SOURCES / source) if code.loinc)


PLACED = """
create or replace temp table every_encounter_location as
select
    'demo_ehr' as source, location_id, encounter_id, ward, started_at,
    case when ended_at <= $until then ended_at end as ended_at,
    false as is_retracted,
    started_at as available_at
from place
where started_at <= $until
"""
MOVED = """
create or replace temp table judged as
select
    *, null as fault, null as scope_code
from every_encounter_location
where started_at > $since and started_at <= $until
"""
JUDGED = """
create or replace temp table judged as
select
    result.* exclude (night, item, number, is_passed_on),
    row_number() over () as record_line,
    row_number() over (partition by number, sent_number, status order by issued_at) > 1 as is_repeated,
    null::varchar as local_system,
    false as is_extreme,
    null::varchar as value_text,
    null::varchar as value_code,
    null::varchar as scope_code,
    case when item < $laboratory then 'laboratory' else 'vital_signs' end as category,
    case
        when local_code is null then 'unknown_code code'
        when value_number < low or value_number > high then 'impossible_value value'
    end as fault
from result
left join analyte using (code)
where night = $night
and case when $is_lis then item < $laboratory else item >= $laboratory or is_passed_on end
"""


def open_nights(source: str, hospital: Hospital, records: Records, temp: Path) -> Nights:
    """A feed of a drawn hospital, of which no night has been taken in yet."""
    connection = connect(temp, threads=1)
    result, place = drawn(hospital)
    passed_on = [row for row, item in enumerate(ITEMS) if item.panel in PASSED_ON]
    is_passed_on = np.isin(result["item"].to_numpy(), passed_on)
    connection.register("result_rows", result.append_column("is_passed_on", pa.array(is_passed_on)))
    connection.register("place_rows", place)
    analytes = pa.table(
        {
            "code": list(LIMITS),
            "low": pa.array([each.impossible_low for each in LIMITS.values()], pa.float64()),
            "high": pa.array([each.impossible_high for each in LIMITS.values()], pa.float64()),
        }
    )
    connection.register("analyte_rows", analytes)
    for name in ("result", "place", "analyte"):
        connection.execute(f"create temp table {name} as from {name}_rows")
    return Nights(source=source, records=records, connection=connection, hospital=hospital)
