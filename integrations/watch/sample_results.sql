-- Of the same results every $step-th line, for what cannot be added up: patients, percentiles, and how long results
-- took from collected to issued, in minutes. From `judged` (observation).
select
    case when $is_history then (issued_at at time zone $zone)::date else $day::date end as day,
    coalesce(local_code::varchar, unknown_code::varchar) as subject,
    coalesce(nullif(sent_unit::varchar, ''), 'no unit') as unit,
    coalesce(category::varchar, 'other') as category,
    patient_id,
    coalesce(value_number, sent_number) as number,
    case
        when effective_at <= issued_at and fault is null and status <> 'corrected'
            then (epoch(issued_at) - epoch(effective_at)) / 60
    end as delay
from judged
where record_line % $step = 0
and not is_retracted
and (not $is_history or issued_at >= $since)
