"""Copies: a result that came twice for one person is seen once, for a count or a median must not see it twice.

It may come through two feeds. Once the feed that a contract calls authoritative has brought it, the copy of another
feed is not seen any more. So is what a feed tells again after a merge, under the number of the patient who stays.
"""

from collections.abc import Sequence

import duckdb

from integrations.duck import quoted

# Of two versions of one moment one may be a copy and the other not: both its key and what makes it the same result.
VERSION = "observation_id, patient_id, available_at, order_number, code, effective_at"
WITH_ORDER = f"""
create or replace temp table with_order as
select source, site_id, {VERSION}
from every_observation
where order_number is not null
"""
COPY = """
create or replace temp table copy as
with original as materialized (
    select site_id, order_number, code, effective_at, patient_id, min(available_at) as available_at
    from with_order
    where source in ({authorities})
    group by all
),
shared as (
    select source, order_number, code, effective_at
    from with_order
    group by all
    having min(patient_id) <> max(patient_id)
),
of_several as materialized (
    select source, order_number, code, effective_at, patient_id, observation_id, available_at
    from with_order
    semi join shared using (source, order_number, code, effective_at)
),
first_told as (
    select source, order_number, code, effective_at, patient_id, observation_id, min(available_at) as first_at
    from of_several
    group by all
),
told_again as (
    select
        other.observation_id,
        other.patient_id,
        other.available_at,
        order_number,
        code,
        effective_at,
        original.patient_id as other_patient_id,
        original.available_at as again_at
    from with_order as other
    join original using (site_id, order_number, code, effective_at)
    where other.source not in ({authorities})
    union all
    select
        earlier.observation_id,
        earlier.patient_id,
        earlier.available_at,
        order_number,
        code,
        effective_at,
        later.patient_id,
        later.first_at
    from of_several as earlier
    join first_told as later using (source, order_number, code, effective_at)
    where later.patient_id <> earlier.patient_id
    and later.first_at > earlier.available_at
),
covered as (
    select
        told_again.* exclude (other_patient_id, again_at),
        greatest(told_again.again_at, same_person.available_at) as copied_at,
        same_person.superseded_at as parted_at
    from told_again
    join same_person using (patient_id, other_patient_id)
    where told_again.again_at < same_person.superseded_at
),
reach as (
    select
        *,
        max(parted_at) over (
            partition by {version}
            order by copied_at, parted_at
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from covered
)
select {version}, covered_until as seen_from, copied_at as seen_until
from reach
where covered_until is null or covered_until < copied_at
union all
select {version}, max(parted_at), timestamptz 'infinity'
from covered
group by {version}
having max(parted_at) < timestamptz 'infinity'
"""


def find_copies(connection: duckdb.DuckDBPyConnection, authorities: Sequence[str]) -> None:
    """Make `copy`: from when until when each version is seen of a result that came once more; null is no limit.

    The same result: of one person and site, under one order or accession number, of one code and collection time. That
    of an authoritative feed stands; within a feed that one, which was first told of later than this version of the
    other. Once a merge is undone they are two persons' again, and both are seen. Version by version: what is told
    later changes nothing of what was known before.
    """
    named = ", ".join(quoted(source) for source in authorities) or "null"
    connection.execute(WITH_ORDER)
    connection.execute(COPY.format(authorities=named, version=VERSION))
    connection.execute("drop table with_order")
