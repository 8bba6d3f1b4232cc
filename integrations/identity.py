"""Identity: which patient ids are one person, as of any time.

patient_link holds only identifiers of the systems that a contract's person_systems names. Two ids that share
(system, value) in it are one person while both links were known and not withdrawn; so are the ends of a chain while
every link of it held. Facts keep the id they came with. An identifier that more than MOST_IDS_OF_A_PERSON ids share is
a filler after all (4711) and names nobody, from when the first of too many was linked: before, nobody could know.
"""

import hashlib

import duckdb

MOST_IDS_OF_A_PERSON = 50

FILLER = """
create or replace temp table filler as
with first_linked as (
    select system, value, patient_id, min(available_at) as available_at
    from {links}
    where not is_retracted
    group by system, value, patient_id
),
crowded as (
    select system, value
    from first_linked
    group by system, value
    having count(*) > {most}
)
select system, value, min(available_at, {most} + 1)[{most} + 1] as filler_from
from first_linked
semi join crowded using (system, value)
group by system, value
"""
# Own pairs come first; a person of one id has no more. The recursion walks chains, narrowing the time at every step.
SAME_PERSON = """
create or replace temp table same_person as
with recursive
shared_identifier as (
    select system, value
    from patient_link
    where not is_retracted
    group by system, value
    having min(patient_id) < max(patient_id)
),
shared_link as (
    select patient_id, system, value, available_at, least(superseded_at, filler_from) as superseded_at
    from patient_link
    semi join shared_identifier using (system, value)
    left join filler using (system, value)
    where not is_retracted and available_at < least(superseded_at, filler_from)
),
direct as (
    select distinct
        a.patient_id,
        b.patient_id as other_patient_id,
        greatest(a.available_at, b.available_at) as available_at,
        least(a.superseded_at, b.superseded_at) as superseded_at
    from shared_link a
    join shared_link b using (system, value)
    where a.patient_id <> b.patient_id
      and greatest(a.available_at, b.available_at) < least(a.superseded_at, b.superseded_at)
),
chain as (
    select * from direct
    union
    select
        chain.patient_id,
        direct.other_patient_id,
        greatest(chain.available_at, direct.available_at),
        least(chain.superseded_at, direct.superseded_at)
    from chain
    join direct on direct.patient_id = chain.other_patient_id
    where direct.other_patient_id <> chain.patient_id
      and greatest(chain.available_at, direct.available_at) < least(chain.superseded_at, direct.superseded_at)
),
reach as (
    select
        *,
        max(superseded_at) over (
            partition by patient_id, other_patient_id
            order by available_at, superseded_at
            rows between unbounded preceding and 1 preceding
        ) as held_until
    from chain
),
stretch as (
    select
        *,
        count(*) filter (where held_until is null or held_until < available_at) over (
            partition by patient_id, other_patient_id order by available_at, superseded_at rows unbounded preceding
        ) as stretch_number
    from reach
)
select
    patient_id,
    patient_id as other_patient_id,
    timestamptz '-infinity' as available_at,
    timestamptz 'infinity' as superseded_at
from (select patient_id from patient union select patient_id from patient_link)
union all
select patient_id, other_patient_id, min(available_at), max(superseded_at)
from stretch
group by patient_id, other_patient_id, stretch_number
"""


def find_fillers(connection: duckdb.DuckDBPyConnection, links: str) -> None:
    """Make filler (system, value, filler_from) from the links of all patients: no bucket shows how many share one."""
    connection.execute(FILLER.format(links=links, most=MOST_IDS_OF_A_PERSON))


def make_same_person(connection: duckdb.DuckDBPyConnection) -> None:
    """Make same_person (patient_id, other_patient_id, available_at, superseded_at) from all versions and filler."""
    connection.execute(SAME_PERSON)


def clusters(connection: duckdb.DuckDBPyConnection, links: str = "patient_link") -> list[list[str]]:
    """Return the ids that were ever linked to each other, withdrawn links included; an id alone is left out.

    find_fillers has been called: who shares a filler from when it was known for one belongs to nobody by it.
    """
    return _joined(
        connection,
        f"""
        select list(distinct patient_id order by patient_id)
        from {links}
        left join filler using (system, value)
        where available_at < coalesce(filler_from, timestamptz 'infinity')
        group by system, value
        having min(patient_id) < max(patient_id)
        order by all
        """,
    )


def crowds(connection: duckdb.DuckDBPyConnection, links: str = "patient_link") -> list[list[str]]:
    """Return the ids whose person a link of one of them may change: those who share a filler, too."""
    return _joined(
        connection,
        f"""
        select list(distinct patient_id order by patient_id)
        from {links}
        group by system, value
        having min(patient_id) < max(patient_id)
        order by all
        """,
    )


def _joined(connection: duckdb.DuckDBPyConnection, groups_sql: str) -> list[list[str]]:
    """Join groups of ids that have one in common."""
    groups = connection.execute(groups_sql).fetchall()
    head: dict[str, str] = {}
    for (ids,) in groups:
        heads = {_head(head, patient_id) for patient_id in ids}
        first = min(heads)
        head.update(dict.fromkeys(heads, first))
    members: dict[str, list[str]] = {}
    for patient_id in sorted(head):
        members.setdefault(_head(head, patient_id), []).append(patient_id)
    return list(members.values())


def work_buckets(
    connection: duckdb.DuckDBPyConnection, bucket_count: int, links: str = "patient_link"
) -> dict[str, int]:
    """Return the work bucket of every id that has been linked: the bucket of the first id of its person.

    An id that stands alone works in the bucket in which it lies, so it is not named.
    """
    return {patient_id: bucket_of(ids[0], bucket_count) for ids in clusters(connection, links) for patient_id in ids}


def bucket_of(patient_id: str, bucket_count: int) -> int:
    """Return the bucket of a patient id: the first eight digits of its md5, the same for ever."""
    return int(hashlib.md5(patient_id.encode(), usedforsecurity=False).hexdigest()[:8], 16) % bucket_count


def bucket_sql(column: str, bucket_count: int) -> str:
    """Return the DuckDB expression for `bucket_of`."""
    return f"(('0x' || left(md5({column}), 8))::bigint % {bucket_count})::integer"


def _head(head: dict[str, str], patient_id: str) -> str:
    """Find the first id of a group, and shorten the way to it."""
    first = head.setdefault(patient_id, patient_id)
    while head[first] != first:
        first = head[first]
    head[patient_id] = first
    return first
