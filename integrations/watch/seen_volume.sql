-- By ward and hour of the time since the last extract: results issued, and hours that patients lay there.
-- A result belongs to the ward in which its patient was when it was collected; one outside of any ward to none.
-- Hours are counted from 1970 by the clock of the feed, so that weekday and hour of day can be read from them.
with version as (
    select location_id, encounter_id, ward, started_at, ended_at, is_retracted, available_at
    from every_encounter_location
    where source = $encounters_of and started_at > $since - interval 60 days
    union all
    select location_id, encounter_id, ward, started_at, ended_at, is_retracted, available_at from moved
),
place as (
    select encounter_id, ward, started_at, coalesce(ended_at, $until) as ended_at
    from (
        from version
        qualify row_number() over (partition by location_id order by available_at desc, is_retracted, ended_at nulls last) = 1
    )
    where not is_retracted and started_at < $until and coalesce(ended_at, $until) > $since
),
hour as (
    select
        began_at,
        began_at + interval 1 hour as over_at,
        floor(epoch((began_at at time zone $zone)::timestamp) / 3600)::bigint as hour
    from (
        select unnest(range(date_trunc('hour', $since::timestamptz), $until::timestamptz, interval 1 hour)) as began_at
    )
),
stayed as (
    select
        ward,
        hour,
        sum(
            epoch(least(ended_at, over_at, $until)) - epoch(greatest(started_at, began_at, $since))
        ) / 3600 as patient_hours
    from place
    join hour on place.started_at < hour.over_at and place.ended_at > hour.began_at
    group by ward, hour
),
sample as (
    select encounter_id, effective_at, date_trunc('hour', issued_at) as began_at, count(*) as result_count
    from judged
    where encounter_id is not null
    and issued_at > $since
    and issued_at <= $until
    and not is_retracted
    and status::varchar is distinct from 'corrected'
    group by all
),
sent as (
    select place.ward, hour.hour, sum(sample.result_count) as result_count
    from sample
    join place
        on place.encounter_id = sample.encounter_id
        and place.started_at <= sample.effective_at
        and (place.ended_at > sample.effective_at or place.ended_at = $until)
    join hour using (began_at)
    group by all
)
select
    'volume' as kind,
    ward as subject,
    null::varchar as code,
    $day::date as day,
    coalesce(sum(result_count), 0)::integer as value_count,
    ceil(sum(patient_hours) / greatest(epoch($until::timestamptz) - epoch($since::timestamptz), 1) * 3600)::integer
        as patient_count,
    0 as part_count,
    list(
        {'hour': hour, 'result_count': coalesce(result_count, 0)::integer, 'patient_hours': round(patient_hours, 3)}
        order by hour
    ) as hours
from stayed
left join sent using (ward, hour)
where patient_hours > 0
group by ward
