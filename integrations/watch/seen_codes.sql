-- What the results of one extract were like, by code as sent, and by unit: how many, of whom, on which scale.
-- From `judged` (observation). Live rows have one day; those of history theirs, of the last weeks only.
-- Large extracts: patients and percentiles from every $step-th line; counts are whole.
with result as (
    select
        case when $is_history then (issued_at at time zone $zone)::date else $day::date end as day,
        coalesce(local_code::varchar, unknown_code::varchar) as subject,
        code::varchar as code,
        sent_unit::varchar as unit,
        case when record_line % $step = 0 then patient_id end as patient_id,
        case
            when record_line % $step = 0 then coalesce(value_number, sent_number)
        end as number,
        fault is null as is_passed
    from judged
    where not is_retracted
    and coalesce(local_code::varchar, unknown_code::varchar) is not null
    and (scope_code is null or scope_code::varchar is distinct from local_code::varchar)
    and (not $is_history or issued_at >= $since)
),
counted as (
    select
        day,
        subject,
        any_value(code) as code,
        grouping(unit) = 0 as is_by_unit,
        unit,
        count(*) as value_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (is_passed) as part_count,
        quantile_cont(number, [0.1, 0.5, 0.9]) filter (number > 0 and isfinite(number)) as percentile
    from result
    group by grouping sets ((day, subject), (day, subject, unit))
)
select
    case when is_by_unit then 'unit' else 'code' end as kind,
    case when is_by_unit then subject || ' in ' || coalesce(nullif(unit, ''), 'no unit') else subject end as subject,
    coalesce(code, subject) as code,
    day,
    value_count,
    patient_count,
    part_count,
    case when not is_by_unit then log10(percentile[1]) end as low,
    case when not is_by_unit then log10(percentile[2]) end as middle,
    case when not is_by_unit then log10(percentile[3]) end as high
from counted
