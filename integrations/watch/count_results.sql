-- The results of one extract, counted once: by day, code, unit and category as sent. From `judged` (observation).
-- Live rows have one day; those of history theirs, of the last weeks only. Codes and units lie as numbers in `judged`,
-- so they become texts only once they are counted.
with counted as (
    select
        case when $is_history then (issued_at at time zone $zone)::date else $day::date end as day,
        local_code,
        unknown_code,
        sent_unit,
        category,
        any_value(code)::varchar as code,
        count(*) as sent_count,
        count(*) filter (not is_retracted) as value_count,
        count(*) filter (not is_retracted and fault is null) as passed_count,
        count(*) filter (is_retracted or status in ('corrected', 'entered_in_error')) as corrected_count,
        count(*) filter (
            sent_number is null
            and not is_retracted
            and value_code is null
            and (value_text is null or list_contains($nothing::varchar[], upper(trim(value_text))))
        ) as junk_count
    from judged
    where (local_code is not null or unknown_code is not null)
    and (scope_code is null or scope_code::varchar is distinct from local_code::varchar)
    and (not $is_history or issued_at >= $since)
    group by all
)
select
    day,
    coalesce(local_code::varchar, unknown_code::varchar) as subject,
    coalesce(nullif(sent_unit::varchar, ''), 'no unit') as unit,
    coalesce(category::varchar, 'other') as category,
    coalesce(code, local_code::varchar, unknown_code::varchar) as code,
    sent_count,
    value_count,
    passed_count,
    corrected_count,
    junk_count
from counted
