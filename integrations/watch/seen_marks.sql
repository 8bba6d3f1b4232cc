-- By category: how many results of one extract correct or withdraw an earlier one, and how long they took from
-- collected to issued, in minutes. From `counted_result` and `sampled_result`.
with delay as (
    select
        day,
        category,
        count(*) as value_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (delay > $lateness_minutes) as part_count,
        quantile_cont(greatest(delay, 1), [0.1, 0.5, 0.9]) as percentile
    from sampled_result
    where delay is not null
    group by day, category
)
select
    'corrected' as kind,
    category as subject,
    null::varchar as code,
    day,
    sum(sent_count) as value_count,
    0 as patient_count,
    sum(corrected_count) as part_count,
    null::double as low,
    null::double as middle,
    null::double as high
from counted_result
where not $is_history
group by day, category
union all
select
    'delay', category, null, day, value_count, patient_count, part_count,
    log10(percentile[1]), log10(percentile[2]), log10(percentile[3])
from delay
