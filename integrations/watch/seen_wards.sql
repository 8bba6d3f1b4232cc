-- Into which wards patients were moved in one extract (live: since the last one), and how many. Of history one row per
-- ward: when it was last used. From `judged` (encounter_location).
select
    'ward' as kind,
    ward as subject,
    null::varchar as code,
    case when $is_history then max((started_at at time zone $zone)::date) else $day::date end as day,
    count(*) as value_count,
    count(distinct encounter_id) as patient_count,
    0 as part_count
from judged
where fault is null and scope_code is null and not is_retracted and ward is not null
and ($is_history or started_at > $since)
group by ward
