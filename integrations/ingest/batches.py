"""The guard against a batch that is wrong as a whole: an extract's values of one code in one unit.

Values in a wrong unit are impossible (quarantined one by one), extreme, or only look right (creatinine of 45 umol/L
labelled mg/dL). So the rest of a code is set aside too when of one unit's values
- at least 2 and at least half are impossible, or at least 5 and at least a fifth; or
- at least two thirds, of at least 5 patients, are extreme or impossible (glucose in mmol/L labelled mg/dL).

One extreme value, or one patient full of them, is never enough (figures: docs/decisions/0015).
"""

import duckdb

IMPOSSIBLE_FEW, HALF = 2, 0.5
IMPOSSIBLE_MANY, FIFTH = 5, 0.2
EXTREME_PATIENTS, TWO_THIRDS = 5, 2 / 3

SUSPECT = """
select distinct local_system, local_code
from (
    select
        local_system,
        local_code,
        count(*) as value_count,
        count(*) filter (fault is not null) as impossible_count,
        count(*) filter (fault is not null or is_extreme) as extreme_count,
        count(distinct patient_id) filter (fault is not null or is_extreme) as extreme_patient_count
    from judged
    where sent_number is not null and not is_retracted and (fault is null or fault = 'impossible_value value')
    group by local_system, local_code, sent_unit
)
where impossible_count >= greatest($impossible_few, $half * value_count)
   or impossible_count >= greatest($impossible_many, $fifth * value_count)
   or (extreme_patient_count >= $extreme_patients and extreme_count >= $two_thirds * value_count)
"""


def suspect_batches(connection: duckdb.DuckDBPyConnection) -> None:
    """Mark in `judged` (observation) the sound rows of every suspect code."""
    bounds = {
        "impossible_few": IMPOSSIBLE_FEW,
        "half": HALF,
        "impossible_many": IMPOSSIBLE_MANY,
        "fifth": FIFTH,
        "extreme_patients": EXTREME_PATIENTS,
        "two_thirds": TWO_THIRDS,
    }
    for local_system, local_code in connection.execute(SUSPECT, bounds).fetchall():
        connection.execute(
            """
            update judged set fault = 'suspect_batch value'
            where fault is null and not is_retracted
              and local_system is not distinct from $system and local_code = $code
            """,
            {"system": local_system, "code": local_code},
        )
