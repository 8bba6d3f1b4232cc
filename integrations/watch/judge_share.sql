-- Shares that have risen: values that are words of nothing, results that correct another, records that say nothing new.
-- spread: how much more than dice the share varied from extract to extract.
with past as (
    select *, era = 'accepted' as is_second
    from past_figure
    where kind in ('junk', 'corrected', 'duplicates') and era <> 'doubtful'
),
usual as (
    select
        kind,
        subject,
        is_second,
        count(*) as day_count,
        sum(value_count) as value_count,
        (sum(part_count) + 0.5) / (sum(value_count) + 1) as share
    from past
    group by kind, subject, is_second
),
spread as (
    select
        kind,
        subject,
        is_second,
        greatest(
            $least_spread,
            avg((past.part_count - past.value_count * share) ^ 2 / (past.value_count * share * (1 - share)))
        ) as spread
    from past
    join usual using (kind, subject, is_second)
    where past.value_count > 0
    group by kind, subject, is_second
),
present as (
    select kind, subject, any_value(code) as code, sum(value_count) as value_count, sum(part_count) as part_count,
        sum(patient_count) as patient_count
    from watch_figure
    where kind in ('junk', 'corrected', 'duplicates') and value_count > 0
    group by kind, subject
),
compared as (
    select
        present.*,
        usual.is_second,
        usual.share as usual_share,
        usual.value_count as past_value_count,
        present.part_count / present.value_count as share,
        sqrt(
            spread * usual.share * (1 - usual.share) / present.value_count
            * (1 + present.value_count / usual.value_count)
        ) as error
    from present
    join usual using (kind, subject)
    join spread using (kind, subject, is_second)
    where usual.is_second or (usual.day_count >= $min_past_days and usual.value_count >= $min_past_values)
)
select kind, subject, any_value(code) as code, max(value_count) as value_count, max(part_count) as part_count,
    max(patient_count) as patient_count, max(share) as share,
    max(usual_share) filter (not is_second) as usual_share, max(past_value_count) as past_value_count
from compared
group by kind, subject
having bool_and(
    part_count >= $rise_fewest and share - usual_share > $rise and share - usual_share > $rise_errors * error
)
and bool_or(not is_second)
order by kind, subject
