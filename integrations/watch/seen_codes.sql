-- What the results of one extract were like, by code as sent, and by unit: how many, of whom, on which scale; and how
-- many have no value but a word of nothing. From `counted_result` and `sampled_result`.
with sampled as (
    select
        day,
        subject,
        unit,
        grouping(unit) = 0 as is_by_unit,
        count(distinct patient_id) as patient_count,
        quantile_cont(number, [0.1, 0.5, 0.9]) filter (number > 0 and isfinite(number)) as percentile
    from sampled_result
    group by grouping sets ((day, subject), (day, subject, unit))
),
by_code as (
    select
        day,
        subject,
        any_value(code) as code,
        sum(value_count) as value_count,
        sum(passed_count) as passed_count,
        sum(junk_count) as junk_count
    from counted_result
    group by day, subject
),
by_unit as (
    select day, subject, unit, any_value(code) as code, sum(value_count) as value_count,
        sum(passed_count) as passed_count
    from counted_result
    group by day, subject, unit
)
select
    'unit' as kind,
    subject || ' in ' || unit as subject,
    code,
    day,
    value_count,
    coalesce(patient_count, 0) as patient_count,
    passed_count as part_count,
    null::double as low,
    null::double as middle,
    null::double as high
from by_unit
left join (from sampled where is_by_unit) using (day, subject, unit)
where value_count > 0
union all
select
    'code', subject, code, day, value_count, coalesce(patient_count, 0), passed_count,
    log10(percentile[1]), log10(percentile[2]), log10(percentile[3])
from by_code
left join (from sampled where not is_by_unit) using (day, subject)
where value_count > 0
union all
select
    'junk', 'value of ' || subject, code, day, value_count, coalesce(patient_count, 0), junk_count, null, null, null
from by_code
left join (from sampled where not is_by_unit) using (day, subject)
where value_count > 0
