"""What speaks against a row, as SQL: the first of these that holds is its fault, `reason field`."""

from integrations.ingest.identifiers import link_scope_cases
from integrations.ingest.judgement import EARLIEST, Judgement

EARLIEST_BIRTH = "date '1880-01-01'"
LATEST_SHIFTED = "timestamptz '2400-01-01 00:00:00+00'"
PLANNED = {("medication", "ended_at")}  # may lie ahead

# A withdrawal needs no content: it takes back what is known.
OBSERVATION_CASES = (
    "when is_retracted and sent_code is null then null",
    "when sent_code is null then 'missing_field code'",
    "when not is_known_code then 'unknown_code code'",
    "when code is null or is_retracted then null",
    "when sent_number is null and value_text is null and value_code is null then 'missing_field value'",
    "when sent_number is null and not takes_text then 'bad_value value'",
    "when sent_number is not null and sent_unit is null and not takes_text then 'unknown_unit unit'",
    "when sent_number is not null and sent_unit is not null and unit_place is null then 'unknown_unit unit'",
    "when not isfinite(sent_number) then 'bad_value value'",
    "when value_number < impossible_low or value_number > impossible_high then 'impossible_value value'",
)


def fault_sql(judgement: Judgement) -> str:
    """The expression of the fault; null when nothing speaks against the row."""
    key = judgement.declared.key
    cases = [
        "when problem is not null then concat_ws(' ', problem, problem_detail)",
        "when is_empty then null",
        f"when {key} is null then 'missing_id {key}'",
        "when patient_id is null and not is_retracted then 'missing_field patient_id'",
        "when unread_time is not null then 'bad_time ' || unread_time",
        "when strange_word is not null then 'bad_value ' || strange_word",
        *(f"when \"{name}\" is null and not is_retracted then 'missing_field {name}'" for name in needed(judgement)),
        *_time_cases(judgement),
        *(OBSERVATION_CASES if judgement.table == "observation" else ()),
    ]
    return "case\n        " + "\n        ".join(cases) + "\n    end"


def scope_sql(judgement: Judgement) -> str:
    """The expressions of why a row is left out: nothing in the record for this table, or declared so."""
    if judgement.table == "patient_link":
        cases = " ".join(["when is_empty then out_of_scope_reason", *link_scope_cases(judgement.contract)])
        return f"case {cases} end as scope_code, case {cases} end as scope_reason"
    if judgement.table != "observation":
        return "out_of_scope_reason as scope_code, out_of_scope_reason as scope_reason"
    declared = "is_known_code and code is null"
    return (
        f"case when is_empty then out_of_scope_reason when {declared} then local_code end as scope_code, "
        f"case when is_empty then out_of_scope_reason when {declared} then code_scope_reason end as scope_reason"
    )


def needed(judgement: Judgement) -> list[str]:
    """The columns that a door must fill, without key and patient."""
    required = {column.name for column in judgement.declared.columns if column.is_required}
    return [name for name, _ in judgement.staged_columns if name in required and name != judgement.declared.key]


def _time_cases(judgement: Judgement) -> list[str]:
    """Before 1900, later than the day after receipt unless it is a plan, or an end before its start."""
    is_shifted = judgement.contract.is_date_shifted
    latest = LATEST_SHIFTED if is_shifted else f"{judgement.received_sql} + interval 1 day"
    kinds = {name: kind for name, kind in judgement.staged_columns if kind in ("instant", "date")}
    cases = []
    for name, kind in kinds.items():
        earliest = EARLIEST_BIRTH if kind == "date" else EARLIEST
        bound = LATEST_SHIFTED if (judgement.table, name) in PLANNED else latest
        cases.append(f"when {name} not between {earliest} and {bound} then 'impossible_time {name}'")
    if {"started_at", "ended_at"} <= kinds.keys():
        cases.append("when ended_at < started_at then 'impossible_time ended_at'")
    return cases
