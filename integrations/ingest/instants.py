"""How a time that a feed wrote becomes an instant in UTC.

With an offset, the offset counts. Without one, the time zone of the feed: of an hour that a clock change repeats the
later one, so that nothing counts as known too early; one that it leaves out lies as much after the change. A date
alone is no instant, but where the contract allows one for a column it stands for the start or the end of that day in
the feed's time zone. Anything else is null, which the contract step calls bad_time.
"""

from datetime import time

import duckdb

from integrations.contract import Contract
from integrations.duck import quoted

# HL7 v2 writes 20240301100000-0600; FHIR and warehouses 2024-03-01T10:00:00-06:00, or a blank in place of T.
AS_ISO = """
regexp_replace(regexp_replace(regexp_replace(sent,
    '^(\\d{4})(\\d\\d)(\\d\\d)(\\d\\d)(\\d\\d)(\\d\\d)', '\\1-\\2-\\3T\\4:\\5:\\6'),
    '^(\\d{4})(\\d\\d)(\\d\\d)(\\d\\d)(\\d\\d)', '\\1-\\2-\\3T\\4:\\5:00'),
    '^(\\d{4})(\\d\\d)(\\d\\d)$', '\\1-\\2-\\3')
"""
# The usual forms first: the others are then not looked for.
HAS_OFFSET = "sent[-6] = '-' or sent[-6] = '+' or sent[-1] = 'Z' or sent[-5] in ('+', '-') or sent[-3] in ('+', '-')"


def make_macros(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Make the macros that read the texts of one feed, and next_extract, by which its history became known."""
    zone = quoted(contract.time_zone)
    iso = AS_ISO if contract.kind == "hl7v2" else "sent"
    for name, body in {
        "as_iso(sent)": iso,
        "read_instant(sent)": f"""
            case
                when length(sent) <= 10 then null
                when {HAS_OFFSET} then try_cast(sent as timestamptz)
                else try_cast(sent as timestamp) at time zone {zone}
            end""",
        "read_date(sent)": "case when length(sent) = 10 then try_cast(sent as date) end",
        "read_day_start(sent)": f"read_date(sent)::timestamp at time zone {zone}",
        "read_day_end(sent)": f"(read_date(sent) + interval 1 day - interval 1 microsecond) at time zone {zone}",
        "next_extract(moment)": _next_extract(contract.history_extract_at, zone),
    }.items():
        connection.execute(f"create or replace temp macro {name} as ({body})")


def _next_extract(at: time | None, zone: str) -> str:
    """The daily extract by which a fact of the past would have come; without one, the moment itself."""
    if at is None:
        return "moment"
    of_that_day = f"date_trunc('day', moment at time zone {zone}) + interval '{at:%H:%M:%S}'"
    days = f"case when {of_that_day} < moment at time zone {zone} then interval 1 day else interval 0 day end"
    return f"({of_that_day} + {days}) at time zone {zone}"


def instant_sql(column: str, dates_alone: str | None) -> str:
    """The expression that reads one column of texts, with the day's start or end where a date alone is in order."""
    if dates_alone is None:
        return f'read_instant(as_iso("{column}"))'
    day = "read_day_start" if dates_alone == "start_of_day" else "read_day_end"
    return f'coalesce(read_instant(as_iso("{column}")), {day}(as_iso("{column}")))'
