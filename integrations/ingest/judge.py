"""The contract step: one streaming pass over the staged rows of a table that reads, maps, converts and judges each row.

It leaves the relation `judged`: the canonical columns, the place of the record, and per row what speaks against it
(`fault`: a reason and which field), for leaving it out (`scope_code`, `scope_reason`), and when it was known.
"""

from dataclasses import asdict

import duckdb
import pyarrow as pa

from integrations.codes import CodeMeaning
from integrations.duck import quoted
from integrations.ingest.faults import fault_sql, scope_sql
from integrations.ingest.instants import instant_sql, make_macros
from integrations.ingest.judgement import EARLIEST, Judgement
from integrations.ingest.words import CLOSED_LISTS, word_type

# Who may end: until the end is known the fact reads like this. `ends` says which rows have ended.
OPEN_VERSION: dict[str, dict[str, str]] = {
    "patient": {"deceased_at": "null", "is_deceased": "false"},
    "encounter": {"ended_at": "null", "discharge_disposition": "null"},
    "encounter_location": {"ended_at": "null"},
    "medication": {"ended_at": "null", "status": "'active'"},
}
ENDS = {
    "patient": "is_deceased",
    "encounter": "ended_at is not null",
    "encounter_location": "ended_at is not null",
    "medication": "ended_at is not null or status in ('completed', 'stopped', 'cancelled')",
}
END_COLUMN = {"patient": "deceased_at"}
AS_STAGED = (
    "record_line",
    "problem",
    "problem_detail",
    "is_empty",
    "out_of_scope_reason",
    "is_retracted",
)


def judge(connection: duckdb.DuckDBPyConnection, staged: str, judgement: Judgement, sound: str | None = None) -> None:
    """Make `judged` from the relation `staged`, or from `sound`, its cheaper form, where that can be read."""
    make_macros(connection, judgement.contract)
    if sound is not None:
        try:
            connection.execute(f"create or replace table judged as {judged_sql(sound, judgement)}")
            return
        except duckdb.InvalidInputException:  # a line is not sound: each is read with care
            pass
    connection.execute(f"create or replace table judged as {judged_sql(staged, judgement)}")


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
    {fault_sql(judgement)} as fault,
    {scope_sql(judgement)},
    null::varchar as waits_for_table,
    null::varchar as waits_for,
    {judgement.declared.key} as fact_key,
    {judgement.bucket_sql} as bucket,
    {", ".join([f'"{name}"' for name in _kept(judgement)] + _sent(judgement))}
from dated
"""


def _sent(judgement: Judgement) -> list[str]:
    if judgement.table != "observation":
        return []
    return [*SENT, SENT_SYSTEM] if judgement.is_plan else SENT


def make_code_meaning(connection: duckdb.DuckDBPyConnection, codes: tuple[CodeMeaning, ...]) -> None:
    """Make `code_meaning`: per code as sent its LOINC code, its limits, and the units that it may come in."""
    connection.register("code_rows", pa.Table.from_pylist([_code_row(code) for code in codes], CODE_MEANING))
    words = {
        name: word_type(getattr(code, name) or None for code in codes)
        for name in ("local_system", "local_code", "loinc")
    }
    words["home_unit"] = word_type(unit.unit for code in codes for unit in code.units)
    kept = ", ".join(f"{name}::{kind} as {name}" for name, kind in words.items())
    connection.execute(f"create or replace temp table code_meaning as select * replace ({kept}) from code_rows")
    connection.unregister("code_rows")


CODE_MEANING = pa.schema(
    [
        *((name, pa.string()) for name in ("local_system", "local_code", "loinc", "code_scope_reason", "home_unit")),
        ("takes_text", pa.bool_()),
        ("sent_units", pa.list_(pa.string())),
        ("factors", pa.list_(pa.float64())),
        ("offsets", pa.list_(pa.float64())),
        *((name, pa.float64()) for name in ("impossible_low", "impossible_high", "extreme_low", "extreme_high")),
    ]
)


def _code_row(code: CodeMeaning) -> dict[str, object]:
    limits = asdict(code.analyte) if code.analyte else {}
    return {
        "local_system": code.local_system or None,
        "local_code": code.local_code,
        "loinc": code.loinc,
        "code_scope_reason": code.reason,
        "home_unit": code.units[0].unit if code.units else None,
        "takes_text": code.takes_text,
        "sent_units": [unit.sent for unit in code.units],
        "factors": [unit.factor for unit in code.units],
        "offsets": [unit.offset for unit in code.units],
        **{name: value for name, value in limits.items() if name in CODE_MEANING.names and name != "loinc"},
    }


def _read_sql(staged: str, judgement: Judgement) -> str:
    """Scope the ids and read the times; what was sent stays beside it where it could not be read."""
    source = quoted(judgement.contract.source + "/")
    encounters = quoted(judgement.contract.encounters_of + "/")
    columns = [*AS_STAGED, f"record_file::{word_type(judgement.files)} as record_file"]
    columns.append(f"{source} || patient_id as patient_id")
    unread, strange = [], []
    closed = CLOSED_LISTS.get(judgement.table, {})
    for name, kind in judgement.staged_columns:
        if name == judgement.declared.key:
            columns.append(f'{source} || "{name}" as "{name}"')
        elif name == "encounter_id":
            columns.append(f"{encounters} || encounter_id as encounter_id")
        elif kind in ("instant", "date"):
            alone = judgement.dates_alone.get(name)
            read = f'read_date(as_iso("{name}"))' if kind == "date" else instant_sql(name, alone)
            columns.append(f'{read} as "{name}"')
            unread.append(f"when \"{name}\" is not null and {read} is null then '{name}'")
        elif name == "is_deceased":
            columns.append("coalesce(is_deceased, false) or deceased_at is not null as is_deceased")
        elif name in closed:
            word = f"try_cast({name} as {word_type(closed[name])})"
            columns.append(f"{word} as {name}")
            strange.append(f"when {name} is not null and {word} is null then '{name}'")
        else:
            columns.append(f'"{name}"')
    columns.append(f"case {' '.join(unread)} end as unread_time")
    columns.append(f"case {' '.join(strange)} end as strange_word" if strange else "null as strange_word")
    return f"select {', '.join(columns)}\n    from {staged}"


# codes.csv says what a code means and in which units it may come: a number in another unit has no unit_place.
# A code that is sent without a system, as many laboratories do, stands there with an empty one.
CODED = """
    select
        read.* exclude (value_number, unit, local_system, local_code),
        code_meaning.* exclude (loinc),
        loinc as code,
        read.local_system as sent_system,
        read.local_code as sent_code,
        code_meaning.local_code is not null as is_known_code,
        value_number as sent_number,
        nullif(unit, '') as sent_unit,
        list_position(sent_units, unit) as unit_place
    from read
    left join code_meaning
        on read.local_system is not distinct from code_meaning.local_system
        and read.local_code = code_meaning.local_code
"""
CONVERTED = """
    select
        *,
        case when sent_unit is null then sent_number else sent_number * factors[unit_place] + offsets[unit_place] end
            as value_number,
        case when sent_unit is not null then home_unit end as unit
    from coded
"""
# What a door sent, where the judgement goes on with it: the units of a batch, the code that nobody knows.
SENT = [
    "sent_unit",
    "sent_number",
    "case when not is_known_code then sent_code end as unknown_code",
]
SENT_SYSTEM = "case when not is_known_code then sent_system end as unknown_system"
MEANT = (
    "select *, coalesce(value_number < extreme_low or value_number > extreme_high, false) as is_extreme from converted"
)


def _known_sql(judgement: Judgement) -> str:
    """From when the row was known (available_at), and from when its end was (closed_at; null when it has none).

    Live: the later of issued and received. History: by rule, not later than received.
    """
    received = judgement.received_sql
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
    moment = f"coalesce({', '.join([*instants, 'null::timestamptz'])}) + {_interval(history.plus.total_seconds())}"
    rule = moment if "always" in history.instants else f"next_extract({moment})"
    cap = rule if judgement.contract.is_date_shifted else f"least({rule}, {received})"
    known = "null::timestamptz" if "encounter_ended_at" in history.instants else f"coalesce({cap}, {received})"
    closed = "null::timestamptz"
    if judgement.table in ENDS:
        end = history.ended or END_COLUMN.get(judgement.table, "ended_at")
        end_cap = end if judgement.contract.is_date_shifted else f"least(next_extract({end}), {received})"
        closed = f"case when {ENDS[judgement.table]} then greatest(coalesce({end_cap}, {received}), available_at) end"
    if "always" in history.instants:  # a fact of old; that it is withdrawn is not
        known = f"case when is_retracted then {received} else {known} end"
    return f"{known} as available_at, {closed} as closed_at"


def _kept(judgement: Judgement) -> list[str]:
    names = [column.name for column in judgement.declared.columns]
    known = ["is_retracted", "effective_at", "issued_at", "available_at", "closed_at"]
    return ["patient_id", *names, *known]


def _interval(seconds: float) -> str:
    return f"interval ({int(seconds)}) second"
