"""The guard against a batch that is wrong as a whole, such as creatinine in umol/L labelled mg/dL.

Many of its values are impossible and are quarantined one by one; the others only look possible. So when at least 5 and
at least 20 % of an extract's values of one code in one unit are impossible, the rest of that code in this extract is
set aside too.
"""

import duckdb

SUSPECT_COUNT = 5
SUSPECT_SHARE = 0.2


def suspect_batches(connection: duckdb.DuckDBPyConnection) -> None:
    """Mark in `judged` (observation) the sound rows of every suspect code."""
    suspects = connection.execute(
        """
        select distinct local_system, local_code
        from (
            select local_system, local_code
            from judged
            where sent_number is not null and not is_retracted and (fault is null or fault = 'impossible_value value')
            group by local_system, local_code, sent_unit
            having count(*) filter (fault is not null) >= greatest($count, $share * count(*))
        )
        """,
        {"count": SUSPECT_COUNT, "share": SUSPECT_SHARE},
    ).fetchall()
    for local_system, local_code in suspects:
        connection.execute(
            """
            update judged set fault = 'suspect_batch value'
            where fault is null and not is_retracted
              and local_system is not distinct from $system and local_code = $code
            """,
            {"system": local_system, "code": local_code},
        )
