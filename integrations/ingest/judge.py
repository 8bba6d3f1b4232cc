"""The contract step: one streaming pass over the staged rows of a table that reads, maps, converts and judges each row.

It leaves the relation `judged`: the canonical columns, the place of the record, and per row what speaks against it
(`fault`: a reason and which field), for leaving it out (`scope_code`, `scope_reason`), and when it was known.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from integrations.codes import CodeMeaning
from integrations.contract import Contract, TableContract
from integrations.duck import quoted
from integrations.ingest.instants import instant_sql, make_macros
from integrations.tables import TABLES, Table

# Who may end: until the end is known the fact reads like this. `ends` says which rows have ended.
OPEN_VERSION: dict[str, dict[str, str]] = {
    "patient": {"deceased_at": "null"},
    "encounter": {"ended_at": "null", "discharge_disposition": "null"},
    "encounter_location": {"ended_at": "null"},
    "medication": {"ended_at": "null", "status": "'active'"},
}
ENDS = {
    "patient": "deceased_at is not null",
    "encounter": "ended_at is not null",
    "encounter_location": "ended_at is not null",
    "medication": "ended_at is not null or status in ('completed', 'stopped', 'cancelled')",
}
END_COLUMN = {"patient": "deceased_at"}
EARLIEST = "timestamptz '1900-01-01 00:00:00+00'"
EARLIEST_BIRTH = "date '1880-01-01'"
LATEST_SHIFTED = "timestamptz '2400-01-01 00:00:00+00'"
MAPPED_ELSEWHERE = ("code", "is_extreme", "value_number", "unit")  # of observation


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judgement needs to know of the extract: whose it is, and when it came."""

    contract: Contract
    table: str
    received_at: datetime
    is_history: bool

    @property
    def declared(self) -> Table:
        """The canonical table."""
        return TABLES[self.table]

    @property
    def rule(self) -> TableContract:
        """What the contract says of the table."""
        return self.contract.tables[self.table]


def judge(connection: duckdb.DuckDBPyConnection, staged: str, judgement: Judgement) -> None:
    """Make `judged` from the relation `staged`."""
    make_macros(connection, judgement.contract)
    connection.execute(f"create or replace temp table judged as {judged_sql(staged, judgement)}")


def judged_sql(staged: str, judgement: Judgement) -> str:
    """The whole pass as one statement; see each part below."""
    steps = [("read", _read_sql(staged, judgement))]
    if judgement.table == "observation":
        steps += [("coded", CODED), ("converted", CONVERTED), ("meant", MEANT)]
    before, _ = steps[-1]
    steps.append(("dated", f"select *, {_known_sql(judgement)} from {before}"))
    named = ",\n".join(f"{name} as (\n    {text.strip()}\n)" for name, text in steps)
    return f"""
with
{named}
select
    record_file,
    record_line,
    {_fault_sql(judgement)} as fault,
    {_scope_sql(judgement)},
    null::varchar as waits_for_table,
    null::varchar as waits_for,
    {judgement.declared.key} as fact_key,
    {", ".join(f'"{name}"' for name in _kept(judgement))}
from dated
"""


def make_code_meaning(connection: duckdb.DuckDBPyConnection, codes: tuple[CodeMeaning, ...]) -> None:
    """Make `code_meaning`: per code as sent its LOINC code, its limits, and the units that it may come in."""
    connection.execute(
        """
        create or replace temp table code_meaning (
            local_system varchar, local_code varchar, loinc varchar, code_scope_reason varchar, takes_text boolean,
            home_unit varchar, sent_units varchar[], factors double[], offsets double[],
            impossible_low double, impossible_high double, extreme_low double, extreme_high double
        )
        """
    )
    rows = [_code_row(code) for code in codes]
    if rows:
        connection.executemany(f"insert into code_meaning values ({', '.join('?' * 13)})", rows)


def _code_row(code: CodeMeaning) -> list[object]:
    limits = code.analyte
    return [
        code.local_system,
        code.local_code,
        code.loinc,
        code.reason or None,
        code.takes_text,
        code.units[0].unit if code.units else None,
        [unit.sent for unit in code.units],
        [unit.factor for unit in code.units],
        [unit.offset for unit in code.units],
        limits.impossible_low if limits else None,
        limits.impossible_high if limits else None,
        limits.extreme_low if limits else None,
        limits.extreme_high if limits else None,
    ]


def _read_sql(staged: str, judgement: Judgement) -> str:
    """Scope the ids and read the times; what was sent stays beside it where it could not be read."""
    source = quoted(judgement.contract.source + "/")
    encounters = quoted(judgement.contract.encounters_of + "/")
    columns = [
        "record_file",
        "record_line",
        "problem",
        "problem_detail",
        "is_empty",
        "out_of_scope_reason",
        "is_retracted",
    ]
    columns.append(f"{source} || patient_id as patient_id")
    unread = []
    for name, kind in _staged_columns(judgement):
        if name == judgement.declared.key:
            columns.append(f'{source} || "{name}" as "{name}"')
        elif name == "encounter_id":
            columns.append(f"{encounters} || encounter_id as encounter_id")
        elif kind in ("instant", "date"):
            alone = judgement.rule.dates_alone.get(name)
            read = f'read_date(as_iso("{name}"))' if kind == "date" else instant_sql(name, alone)
            columns.append(f'{read} as "{name}"')
            unread.append(f"when \"{name}\" is not null and {read} is null then '{name}'")
        else:
            columns.append(f'"{name}"')
    return f"select {', '.join(columns)}, case {' '.join(unread)} end as unread_time\n    from {staged}"


# codes.csv says what a code means and in which units it may come: a number in another unit has no unit_place.
CODED = """
    select
        read.* exclude (value_number, unit),
        code_meaning.* exclude (local_system, local_code, loinc),
        loinc as code,
        code_meaning.local_code is not null as is_known_code,
        value_number as sent_number,
        nullif(unit, '') as sent_unit,
        list_position(sent_units, unit) as unit_place
    from read
    left join code_meaning using (local_system, local_code)
"""
CONVERTED = """
    select
        *,
        case when sent_unit is null then sent_number else sent_number * factors[unit_place] + offsets[unit_place] end
            as value_number,
        case when sent_unit is not null then home_unit end as unit
    from coded
"""
MEANT = (
    "select *, coalesce(value_number < extreme_low or value_number > extreme_high, false) as is_extreme from converted"
)


def _staged_columns(judgement: Judgement) -> list[tuple[str, str]]:
    """The columns of the table that a door fills, without the patient."""
    own = [
        (column.name, column.kind)
        for column in judgement.declared.columns
        if judgement.table != "observation" or column.name not in ("code", "is_extreme")
    ]
    return [("effective_at", "instant"), ("issued_at", "instant"), *own]


def _known_sql(judgement: Judgement) -> str:
    """From when the row was known (available_at), and from when its end was (closed_at; null when it has none).

    Live: the later of issued and received. History: by rule, not later than received.
    """
    received = _instant(judgement.received_at)
    if not judgement.is_history:
        available = f"greatest(issued_at, {received})"
        closed = (
            f"case when {ENDS['encounter']} then {available} end"
            if judgement.table == "encounter"
            else "null::timestamptz"
        )
        return f"{available} as available_at, {closed} as closed_at"
    history = judgement.rule.history
    instants = [EARLIEST if name == "always" else name for name in history.instants if name != "encounter_ended_at"]
    rule = f"coalesce({', '.join([*instants, 'null::timestamptz'])}) + {_interval(history.plus.total_seconds())}"
    cap = rule if judgement.contract.is_date_shifted else f"least({rule}, {received})"
    known = "null::timestamptz" if "encounter_ended_at" in history.instants else f"coalesce({cap}, {received})"
    closed = "null::timestamptz"
    if judgement.table in ENDS:
        end = history.ended or END_COLUMN.get(judgement.table, "ended_at")
        end_cap = end if judgement.contract.is_date_shifted else f"least({end}, {received})"
        closed = f"case when {ENDS[judgement.table]} then greatest(coalesce({end_cap}, {received}), available_at) end"
    return f"{known} as available_at, {closed} as closed_at"


def _fault_sql(judgement: Judgement) -> str:
    """The first thing that speaks against the row, as `reason field`; null when nothing does."""
    cases = ["when problem is not null then concat_ws(' ', problem, problem_detail)", "when is_empty then null"]
    key = judgement.declared.key
    cases.append(f"when {key} is null then 'missing_id {key}'")
    for column in (*(c for c in judgement.declared.columns if c.is_required), "patient_id"):
        name = column if isinstance(column, str) else column.name
        if name not in (key, *MAPPED_ELSEWHERE) or name == "code" and judgement.table != "observation":
            cases.append(f"when \"{name}\" is null then 'missing_field {name}'")
    cases.insert(len(cases) - 1, "when unread_time is not null then 'bad_time ' || unread_time")
    cases += _time_cases(judgement)
    if judgement.table == "observation":
        cases += OBSERVATION_CASES
    return "case\n        " + "\n        ".join(cases) + "\n    end"


OBSERVATION_CASES = [
    "when local_code is null then 'missing_field code'",
    "when not is_known_code then 'unknown_code code'",
    "when code is null or is_retracted then null",
    "when coalesce(sent_number::varchar, value_text, value_code) is null then 'missing_field value'",
    "when sent_number is null and not takes_text then 'bad_value value'",
    "when sent_number is not null and sent_unit is null and not takes_text then 'unknown_unit unit'",
    "when sent_number is not null and sent_unit is not null and unit_place is null then 'unknown_unit unit'",
    "when sent_number is not null and not isfinite(sent_number) then 'bad_value value'",
    "when value_number < impossible_low or value_number > impossible_high then 'impossible_value value'",
]


def _time_cases(judgement: Judgement) -> list[str]:
    """Before 1900, after the day after receipt, an end before its start. What is only planned may lie ahead: a medication's end."""
    latest = (
        LATEST_SHIFTED if judgement.contract.is_date_shifted else f"{_instant(judgement.received_at)} + interval 1 day"
    )
    names = {name: kind for name, kind in _staged_columns(judgement) if kind in ("instant", "date")}
    cases = []
    for name, kind in names.items():
        earliest = EARLIEST_BIRTH if kind == "date" else EARLIEST
        bound = LATEST_SHIFTED if judgement.table == "medication" and name == "ended_at" else latest
        cases.append(f"when {name} not between {earliest} and {bound} then 'impossible_time {name}'")
    if {"started_at", "ended_at"} <= names.keys():
        cases.append("when ended_at < started_at then 'impossible_time ended_at'")
    return cases


def _scope_sql(judgement: Judgement) -> str:
    """Why a row is left out by declaration: nothing in the record for this table, or a code out of scope."""
    if judgement.table != "observation":
        return "out_of_scope_reason as scope_code, out_of_scope_reason as scope_reason"
    declared = "is_known_code and code is null"
    return (
        f"case when is_empty then out_of_scope_reason when {declared} then local_code end as scope_code, "
        f"case when is_empty then out_of_scope_reason when {declared} then code_scope_reason end as scope_reason"
    )


def _kept(judgement: Judgement) -> list[str]:
    names = [column.name for column in judgement.declared.columns]
    known = ["is_retracted", "effective_at", "issued_at", "available_at", "closed_at"]
    sent = ["sent_unit", "sent_number"] if judgement.table == "observation" else []
    return ["patient_id", *names, *known, *sent]


def _instant(moment: datetime) -> str:
    return f"timestamptz {quoted(moment.isoformat())}"


def _interval(seconds: float) -> str:
    return f"interval ({int(seconds)}) second"
