-- Wards of which fewer results came than their patients let expect: results per hour that a patient lay there, by ward,
-- weekday and hour of day, over the same weekdays before. Judged for this extract alone, and for those of the last
-- week together, which shows a smaller loss. spread: how much more than dice the extracts before varied.
with live as (
    select extract_id, place, received_at from past_window where not is_history
),
cell as (
    select
        subject as ward,
        place,
        received_at,
        (3 + cell.hour // 24) % 7 as weekday,  -- 1970 began on a Thursday; Monday is 0
        cell.hour % 24 as hour,
        cell.hour // 24 as day,
        cell.result_count,
        cell.patient_hours,
        era,
        min(place) filter (era = 'accepted') over (partition by subject) as accepted_place
    from (
        select extract_id, subject, era, unnest(hours) as cell from past_figure where kind = 'volume'
        union all
        select $extract_id as extract_id, subject, 'usual' as era, unnest(hours) as cell
        from watch_figure where kind = 'volume'
    )
    join live using (extract_id)
),
newest as (
    select max(place) as place, max(received_at) as received_at from live
),
usual_cell as (
    select cell.*
    from cell
    cross join newest
    where cell.place < newest.place
    and cell.received_at <= newest.received_at - $week::interval
    and era <> 'doubtful'
    -- where a person has released a loss, what is usual begins with it
    and cell.place >= coalesce(accepted_place, 0)
),
usual as (
    select
        ward,
        weekday,
        hour,
        count(distinct day) as day_count,
        sum(result_count) as result_count,
        sum(patient_hours) as patient_hours
    from usual_cell
    group by all
),
mean as (
    select ward, sum(result_count) / sum(patient_hours) as rate from usual group by ward
),
expected as (
    select
        cell.ward,
        cell.place,
        any_value(cell.received_at) as received_at,
        max(usual.day_count) as day_count,
        sum(cell.result_count) as result_count,
        sum(cell.patient_hours) / 24 as patient_days,
        sum(
            cell.patient_hours
            * (usual.result_count + $prior_hours * mean.rate) / (usual.patient_hours + $prior_hours)
        ) as expected_count,
        sum(usual.result_count) as usual_count
    from cell
    join usual using (ward, weekday, hour)
    join mean using (ward)
    group by cell.ward, cell.place
),
spread as (
    -- the days compared are part of what they are compared with, hence n / (n - 1)
    select
        ward,
        greatest(
            1,
            avg((result_count - expected_count) ^ 2 / expected_count * day_count / greatest(day_count - 1, 1))
        ) as spread,
        count(*) as extract_count
    from expected
    semi join usual_cell using (ward, place)
    where expected_count > 0
    group by ward
),
span as (
    select
        'this extract' as span,
        ward,
        result_count,
        expected_count,
        usual_count,
        patient_days,
        day_count,
        received_at as since_at
    from expected
    where place = (select place from newest)
    union all
    select
        'the last week',
        ward,
        sum(result_count),
        sum(expected_count),
        sum(usual_count),
        sum(patient_days),
        min(day_count),
        min(received_at)
    from expected
    where received_at > (select received_at from newest) - $week::interval
    group by ward
),
judged_span as (
    select
        span.*,
        spread,
        (result_count - expected_count)
            / sqrt(spread * expected_count * (1 + expected_count / greatest(usual_count, 1))) as errors,
        1 - result_count / expected_count as lost_share
    from span
    join spread using (ward)
    where expected_count > 0 and day_count >= $min_same_weekdays
)
select *
from judged_span
where errors < -$volume_errors and lost_share > $lost_at_least
qualify row_number() over (partition by ward order by errors) = 1
order by ward
