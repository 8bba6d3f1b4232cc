-- Codes whose values lie on another scale than before, by the median of their logarithms, or by the outer tenths of
-- them where only a part of the values moved. One LOINC code has one scale, whatever code it was sent under.
-- Extracts of an open finding are no history; those of a released one are a second usual scale: only what differs from
-- both is a jump.
with past as (
    select code, era = 'accepted' as is_second, patient_count, low, middle, high
    from past_figure
    where kind = 'code' and middle is not null and patient_count > 0 and era <> 'doubtful'
),
usual as (
    select
        code,
        is_second,
        count(*) as day_count,
        sum(patient_count) as patient_count,
        sum(patient_count * low) / sum(patient_count) as low,
        sum(patient_count * middle) / sum(patient_count) as middle,
        sum(patient_count * high) / sum(patient_count) as high,
        sum(patient_count * (high - low)) / sum(patient_count) / 2.563 as spread  -- 80 % of a normal lie in 2.563 sd
    from past
    group by code, is_second
),
between_days as (
    select
        code,
        is_second,
        sqrt(sum(past.patient_count * (past.middle - usual.middle) ^ 2) / sum(past.patient_count)) as middle_spread,
        sqrt(sum(past.patient_count * (past.low - usual.low) ^ 2) / sum(past.patient_count)) as low_spread,
        sqrt(sum(past.patient_count * (past.high - usual.high) ^ 2) / sum(past.patient_count)) as high_spread
    from past
    join usual using (code, is_second)
    group by code, is_second
),
present as (
    select code, subject, value_count, patient_count, part_count, low, middle, high
    from watch_figure
    where kind = 'code' and middle is not null and patient_count >= $min_patients
),
compared as (
    select
        present.*,
        usual.is_second,
        usual.day_count,
        usual.patient_count as past_patient_count,
        usual.middle as usual_middle,
        present.middle - usual.middle as shift,
        present.low - usual.low as low_shift,
        present.high - usual.high as high_shift,
        -- the error of a median is 1.25 of that of a mean, that of the outer tenths 1.7
        greatest($jump, $jump_errors * greatest(middle_spread, 1.2533 * spread / sqrt(present.patient_count)))
            as shift_bound,
        greatest($outer_jump, $outer_errors * greatest(low_spread, 1.71 * spread / sqrt(present.patient_count)))
            as low_bound,
        greatest($outer_jump, $outer_errors * greatest(high_spread, 1.71 * spread / sqrt(present.patient_count)))
            as high_bound
    from present
    join usual using (code)
    join between_days using (code, is_second)
    where usual.is_second or (usual.patient_count >= $min_past_patients and usual.day_count >= $min_past_days)
)
select
    code,
    sum(value_count) as value_count,
    sum(patient_count) as patient_count,
    sum(part_count) as passed_count,
    min(usual_middle) as usual_middle,
    min(middle) as middle,
    case
        when bool_or(abs(shift) > shift_bound) then arg_max(shift, abs(shift))
        when max(abs(high_shift) / high_bound) > max(abs(low_shift) / low_bound) then arg_max(high_shift, abs(high_shift))
        else arg_max(low_shift, abs(low_shift))
    end as shift,
    bool_or(abs(shift) > shift_bound) as is_whole,
    max(day_count) as day_count,
    max(past_patient_count) as past_patient_count,
    bool_and(abs(shift) > shift_bound or abs(low_shift) > low_bound or abs(high_shift) > high_bound) as is_jump
from (
    select *, row_number() over (partition by code, subject order by is_second) = 1 as is_first from compared
)
group by code
having not bool_or(is_second and is_first)  -- the usual scale itself must be known
