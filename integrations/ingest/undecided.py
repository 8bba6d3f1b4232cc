"""Codes and units of an extract that codes.csv does not name, whatever else speaks against the records they are in."""

import duckdb

from integrations.ingest.places import UndecidedCode

# Of `judged` and `code_meaning` (observation): what is out of scope needs no code, what is withdrawn no unit.
UNDECIDED = """
    with named as (
        select
            unknown_system as local_system, unknown_code as local_code, null as loinc,
            sent_unit, record_file, record_line
        from judged
        where unknown_code is not null and scope_code is null
        union all
        select judged.local_system, judged.local_code, judged.code, sent_unit, record_file, record_line
        from judged
        join code_meaning
            on judged.local_system is not distinct from code_meaning.local_system
            and judged.local_code = code_meaning.local_code
        where judged.code is not null
            and scope_code is null
            and not is_retracted
            and sent_number is not null
            and case when sent_unit is null then not takes_text else list_position(sent_units, sent_unit) is null end
    )
    select
        coalesce(local_system, ''),
        local_code,
        loinc,
        coalesce(sent_unit, ''),
        count(distinct (record_file, record_line)),
        grouping(sent_unit) = 1 as is_whole
    from named
    group by grouping sets ((local_system, local_code, loinc), (local_system, local_code, loinc, sent_unit))
    order by all
"""


def undecided_codes(connection: duckdb.DuckDBPyConnection) -> list[UndecidedCode]:
    """Every such code of the table judged last, the most frequent one first."""
    records: dict[tuple[str, str, str | None], int] = {}
    units: dict[tuple[str, str, str | None], dict[str, int]] = {}
    for system, code, loinc, unit, count, is_whole in connection.execute(UNDECIDED).fetchall():
        key = (system, code, loinc)
        if is_whole:
            records[key] = count
        else:
            units.setdefault(key, {})[unit] = count
    return [
        UndecidedCode(local_system=key[0], local_code=key[1], loinc=key[2], records=count, units=units[key])
        for key, count in sorted(records.items(), key=lambda found: -found[1])
    ]
