-- How long results took from collected to issued, by category: longer than before, or later than the contract allows.
with past as (
    select *, era = 'accepted' as is_second
    from past_figure
    where kind = 'delay' and patient_count > 0 and era <> 'doubtful'
),
usual as (
    select
        subject,
        is_second,
        count(*) as day_count,
        sum(patient_count) as patient_count,
        sum(patient_count * middle) / sum(patient_count) as middle,
        sum(patient_count * high) / sum(patient_count) as high,
        sum(patient_count * (high - low)) / sum(patient_count) / 2.563 as spread,
        stddev_pop(middle) as middle_spread,
        stddev_pop(high) as high_spread
    from past
    group by subject, is_second
),
present as (
    select subject, value_count, patient_count, part_count, middle, high
    from watch_figure
    where kind = 'delay' and patient_count >= $min_patients and middle is not null
),
compared as (
    select
        present.*,
        is_second,
        usual.middle as usual_middle,
        usual.high as usual_high,
        present.middle - usual.middle
            > greatest($delay, $delay_errors * greatest(middle_spread, 1.2533 * spread / sqrt(present.patient_count)))
        or present.high - usual.high
            > greatest($delay, $delay_errors * greatest(high_spread, 1.71 * spread / sqrt(present.patient_count)))
            as is_longer
    from present
    left join usual
        on usual.subject = present.subject
        and (usual.is_second or (usual.patient_count >= $min_past_patients and usual.day_count >= $min_past_days))
)
select
    subject,
    max(value_count) as value_count,
    max(patient_count) as patient_count,
    max(part_count) as overdue_count,
    max(middle) as middle,
    max(high) as high,
    max(usual_middle) as usual_middle,
    max(usual_high) as usual_high,
    coalesce(bool_and(is_longer) and bool_or(not is_second), false) as is_longer,
    max(part_count / value_count) > $overdue_share and max(part_count) >= $rise_fewest as is_overdue
from compared
group by subject
having is_longer or is_overdue
order by subject
