-- Of the results of one extract, by code as sent: how many have no value but a word of nothing, how many correct or
-- withdraw an earlier one; and by category how long they took from collected to issued, in minutes.
-- From `judged` (observation); `repeated` counts records that said nothing new.
with result as (
    select
        case when $is_history then (issued_at at time zone $zone)::date else $day::date end as day,
        coalesce(local_code::varchar, unknown_code::varchar) as subject,
        coalesce(code::varchar, local_code::varchar, unknown_code::varchar) as code,
        coalesce(category::varchar, 'other') as category,
        case when record_line % $step = 0 then patient_id end as patient_id,
        is_retracted or status::varchar in ('corrected', 'entered_in_error') as is_corrected,
        not is_retracted
        and (
            value_text is not null and upper(trim(value_text)) in (select unnest($nothing::varchar[]))
            or (sent_number is null and value_text is null and value_code is null)
        ) as is_junk,
        case
            when effective_at <= issued_at and fault is null then (epoch(issued_at) - epoch(effective_at)) / 60
        end as delay
    from judged
    where coalesce(local_code::varchar, unknown_code::varchar) is not null
    and (scope_code is null or scope_code::varchar is distinct from local_code::varchar)
    and (not $is_history or issued_at >= $since)
),
junk as (
    select
        'junk' as kind,
        'value of ' || subject as subject,
        any_value(code) as code,
        day,
        count(*) as value_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (is_junk) as part_count
    from result
    group by day, result.subject
),
delay as (
    select
        'delay' as kind,
        category as subject,
        day,
        count(*) as value_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (delay > $lateness_minutes) as part_count,
        quantile_cont(greatest(delay, 1), [0.1, 0.5, 0.9]) as percentile
    from result
    where delay is not null and not is_corrected
    group by day, category
),
corrected as (
    select
        'corrected' as kind,
        category as subject,
        day,
        count(*) as value_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (is_corrected) as part_count
    from result
    where not $is_history
    group by day, category
)
select *, null::double as low, null::double as middle, null::double as high from junk
union all by name
select * exclude (percentile), log10(percentile[1]) as low, log10(percentile[2]) as middle, log10(percentile[3]) as high
from delay
union all by name
from corrected
