"""Identity: which patient ids are one person, as of any time.

patient_link holds only identifiers of the systems that a contract's person_systems names. Two ids that share
(system, value) in it are one person while both links were known and not withdrawn; so are the ends of a chain while
every link of it held. Facts keep the id they came with. An identifier that more than MOST_IDS_OF_A_PERSON ids share is
a filler after all (4711) and names nobody, from when the first of too many was linked: before, nobody could know.
"""

import hashlib

import duckdb
import pyarrow as pa

MOST_IDS_OF_A_PERSON = 50
MOVED = pa.schema([("patient_id", pa.string()), ("work_bucket", pa.int32()), ("lies_in", pa.int32())])

FILLER = """
create or replace temp table filler as
with often_linked as (
    select system, value
    from {links}
    where not is_retracted
    group by system, value
    having count(*) > {most}
),
first_linked as (
    select system, value, patient_id, min(available_at) as available_at
    from {links}
    semi join often_linked using (system, value)
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

# Who shares an identifier with another, by the number of the identifier; and the first of them.
MEMBER = """
create or replace temp table member as
with linked as (
    select system, value, patient_id
    from {links}
    left join filler using (system, value)
    where available_at < {until}
),
shared as (
    select system, value, min(patient_id) as first_id, row_number() over () as number
    from linked
    group by system, value
    having min(patient_id) < max(patient_id)
)
select number, first_id, patient_id
from linked
join shared using (system, value)
"""
# The first step: who shares one identifier only has arrived, unless another of its members shares a second one.
FIRST_HEAD = """
create or replace temp table head_of as
select patient_id, min(first_id) as head, min(number) < max(number) as is_in_chain
from member
group by patient_id;
create or replace temp table member as
with chained as (select distinct number from member join head_of using (patient_id) where is_in_chain)
select number, patient_id from member semi join chained using (number)
"""
# One step along the chains: the first of the heads of all with whom an id shares something. Says how many are new.
NEXT_HEAD = """
create or replace temp table next_head as
with first as (
    select number, min(head) as head from member join head_of using (patient_id) group by number
)
select patient_id, min(first.head) as head
from member
join first using (number)
group by patient_id;
update head_of
set head = next_head.head
from next_head
where next_head.patient_id = head_of.patient_id and next_head.head <> head_of.head
"""


def find_fillers(connection: duckdb.DuckDBPyConnection, links: str) -> None:
    """Make filler (system, value, filler_from) from the links of all patients: no bucket shows how many share one."""
    connection.execute(FILLER.format(links=links, most=MOST_IDS_OF_A_PERSON))


def make_same_person(connection: duckdb.DuckDBPyConnection) -> None:
    """Make same_person (patient_id, other_patient_id, available_at, superseded_at) from all versions and filler."""
    connection.execute(SAME_PERSON)


def find_heads(connection: duckdb.DuckDBPyConnection, links: str, *, with_fillers: bool = False) -> None:
    """Make head_of (patient_id, head): of each id that was ever linked to another, the first id of its person.

    Withdrawn links count. find_fillers has been called: who shares a filler from when it was known for one belongs to
    nobody by it. `with_fillers`: they do, for a link of one of them may change the person of the others.
    """
    until = "timestamptz 'infinity'" if with_fillers else "coalesce(filler_from, timestamptz 'infinity')"
    connection.execute(MEMBER.format(links=links, until=until))
    connection.execute(FIRST_HEAD)
    while connection.execute(NEXT_HEAD).fetchall() != [(0,)]:
        pass
    for name in ("member", "next_head"):
        connection.execute(f"drop table {name}")


def work_buckets(connection: duckdb.DuckDBPyConnection, bucket_count: int, links: str) -> pa.Table:
    """Return patient_id, work_bucket and lies_in of the ids that work in another bucket than they lie in.

    A person works in the bucket of the person's first id; find_fillers has been called.
    """
    if bucket_count == 1:
        return MOVED.empty_table()
    find_heads(connection, links)
    lies_in, works_in = bucket_sql("patient_id", bucket_count), bucket_sql("head", bucket_count)
    found = connection.sql(
        f"select patient_id, {works_in} as work_bucket, {lies_in} as lies_in "
        "from head_of where head <> patient_id and work_bucket <> lies_in"
    )
    return found.to_arrow_table().cast(MOVED)


def bucket_of(patient_id: str, bucket_count: int) -> int:
    """Return the bucket of a patient id: the first eight digits of its md5, the same for ever."""
    return int(hashlib.md5(patient_id.encode(), usedforsecurity=False).hexdigest()[:8], 16) % bucket_count


def bucket_sql(column: str, bucket_count: int) -> str:
    """Return the DuckDB expression for `bucket_of`."""
    return f"(('0x' || left(md5({column}), 8))::bigint % {bucket_count})::integer"
