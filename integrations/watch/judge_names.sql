-- What never came before, and what always came and does not any more: codes, wards and senders.
-- log_p: how likely that is by chance (natural logarithm), if each came as often as before and for each patient apart:
-- of P patients in D days none falls into the A days after them with (D / (D + A))^P. Working days and weekends are
-- kept apart. Only live extracts tell how often: a history is fetched by another query than a night.
with live as (
    select *, sum(days) over (order by place) as over_day from past_window where not is_history
),
newest as (
    select max(place) as place, max(over_day) as over_day, count(*) as extract_count, sum(days) as days from live
),
came as (
    select kind, subject, any_value(code) as code, place, sum(patient_count) as patient_count
    from (
        select kind, subject, code, extract_id, patient_count from past_figure
        union all
        select kind, subject, code, $extract_id as extract_id, patient_count from watch_figure
    )
    join live using (extract_id)
    where kind in ('code', 'ward', 'sender') and patient_count > 0
    group by kind, subject, place
),
span as (
    select kind, subject, any_value(code) as code, min(place) as first_place, max(place) as last_place,
        sum(patient_count) as patient_count
    from came
    group by kind, subject
),
gap as (
    select kind, subject, max(over_day - days - coalesce(before_day, over_day - days)) as longest_gap_days
    from (
        select came.kind, came.subject, live.over_day, live.days,
            lag(live.over_day) over (partition by came.kind, came.subject order by live.place) as before_day
        from came join live using (place)
    )
    group by kind, subject
),
known as (
    select distinct kind, subject
    from past_figure
    left join past_window using (extract_id)
    where coalesce(is_history, true) and kind in ('code', 'ward', 'sender')
),
rate as (
    select
        span.kind,
        span.subject,
        live.is_weekend,
        coalesce(sum(live.days) filter (live.place <= span.last_place), 0) as days_with,
        coalesce(sum(live.days) filter (live.place > span.last_place), 0) as days_without,
        coalesce(sum(came.patient_count), 0) as patient_count
    from span
    join live on live.place >= span.first_place
    left join came on came.kind = span.kind and came.subject = span.subject and came.place = live.place
    group by span.kind, span.subject, live.is_weekend
),
absent as (
    select
        kind,
        subject,
        -sum(case when days_with > 0 then patient_count * ln(1 + days_without / days_with) else 0 end) as log_p,
        -- a weekend that was never seen is taken for any other day: good enough to tell people what is missing
        sum(
            case when days_with > 0 then patient_count / days_with else all_count / all_days end * days_without
        ) as expected_count
    from (
        select *, sum(patient_count) over same as all_count, sum(days_with) over same as all_days
        from rate
        window same as (partition by kind, subject)
    )
    group by kind, subject
),
vanished as (
    select
        span.*,
        absent.log_p,
        absent.expected_count,
        newest.over_day - last.over_day as days_without,
        last.received_at as last_at
    from span
    join absent using (kind, subject)
    join gap using (kind, subject)
    join live as last on last.place = span.last_place
    cross join newest
    where span.last_place < newest.place
    and (select count(*) from live where live.place between span.first_place and span.last_place) >= $min_extracts
    and (select sum(days) from live where live.place between span.first_place and span.last_place) > $min_days_sent
    and newest.over_day - last.over_day > $longest_gap_times * gap.longest_gap_days
    -- where a person has released it, it is known to be gone until it comes again
    and not exists (
        from past_finding as before
        join live as then_seen using (extract_id)
        where before.kind in (span.kind || '_vanished', span.kind || '_renamed')
        and before.subject = span.subject
        and before.is_released
        and then_seen.place > span.last_place
    )
),
appeared as (
    select
        span.*,
        -span.patient_count * ln(1 + earlier.days / later.days) as log_p,
        earlier.days as days_before
    from span
    anti join known using (kind, subject)
    cross join lateral (
        select sum(days) as days, count(*) as extract_count from live where live.place < span.first_place
    ) as earlier
    cross join lateral (select sum(days) as days from live where live.place >= span.first_place) as later
    where earlier.extract_count >= $min_extracts
),
shape as (
    select subject, sum(patient_count * low) / sum(patient_count) as low,
        sum(patient_count * middle) / sum(patient_count) as middle,
        sum(patient_count * high) / sum(patient_count) as high
    from (
        select subject, patient_count, low, middle, high from past_figure where kind = 'code'
        union all
        select subject, patient_count, low, middle, high from watch_figure where kind = 'code'
    )
    where middle is not null and patient_count > 0
    group by subject
),
pair as (
    select
        vanished.subject,
        appeared.subject as new_subject,
        vanished.code,
        appeared.code as new_code,
        vanished.log_p + appeared.log_p as log_p,
        vanished.expected_count,
        appeared.patient_count as new_patient_count,
        vanished.days_without,
        vanished.last_at,
        new_shape.middle - old_shape.middle as shift,
        abs(new_shape.middle - old_shape.middle)
            + abs((new_shape.high - new_shape.low) - (old_shape.high - old_shape.low)) as distance
    from vanished
    join appeared on appeared.kind = vanished.kind and appeared.first_place > vanished.last_place
    join shape as old_shape on old_shape.subject = vanished.subject
    join shape as new_shape on new_shape.subject = appeared.subject
    where vanished.kind = 'code'
    and vanished.log_p < $log_p_half
    and appeared.log_p < $log_p_half
    and vanished.log_p + appeared.log_p < $log_p_gone
    and appeared.patient_count between vanished.expected_count / 2 and vanished.expected_count * 2
    and abs((new_shape.high - new_shape.low) - (old_shape.high - old_shape.low)) < $renamed_spread
    qualify row_number() over (partition by vanished.subject order by distance, appeared.subject) = 1
    and row_number() over (partition by appeared.subject order by distance, vanished.subject) = 1
)
select
    'code_renamed' as finding, subject, code, new_subject, new_code, log_p, expected_count,
    new_patient_count as patient_count, days_without, last_at as since_at, shift
from pair
union all
select
    kind || '_vanished', subject, code, null, null, log_p, expected_count, 0, days_without, last_at, null
from vanished
where log_p < $log_p_gone
and not (kind = 'code' and subject in (select subject from pair))
-- what somebody knows to be renamed is not gone too
and (kind || '_renamed', subject) not in (select (kind, subject) from past_finding where not is_released)
union all
select
    kind || '_new', subject, code, null, null, log_p, 0, patient_count, null, null, null
from appeared
where log_p < $log_p_new
and first_place > (select place from newest) - 7
and (kind || '_new', subject) not in (select (kind, subject) from past_finding)
and not (kind = 'code' and subject in (select new_subject from pair))
