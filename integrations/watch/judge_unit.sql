-- Units of a code that were never sent before, or whose share has moved.
with past as (
    select *, era = 'accepted' as is_second
    from past_figure
    where kind = 'unit' and patient_count > 0 and era <> 'doubtful'
),
usual as (
    select code, is_second, subject, sum(patient_count) as patient_count
    from past
    group by code, is_second, subject
),
usual_all as (
    select code, is_second, sum(patient_count) as patient_count from usual group by code, is_second
),
present as (
    select code, subject, sum(value_count) as value_count, sum(patient_count) as patient_count,
        sum(part_count) as part_count
    from watch_figure where kind = 'unit' group by code, subject
),
present_all as (
    select code, sum(patient_count) as patient_count from present group by code
),
unit as (
    select code, is_second, subject from usual
    union
    select code, is_second, subject from present join (select distinct code, is_second from usual) using (code)
),
compared as (
    select
        unit.code,
        unit.is_second,
        unit.subject,
        coalesce(present.value_count, 0) as value_count,
        coalesce(present.part_count, 0) as part_count,
        coalesce(present.patient_count, 0) as patient_count,
        present_all.patient_count as all_patient_count,
        usual_all.patient_count as past_patient_count,
        coalesce(usual.patient_count, 0) / usual_all.patient_count as usual_share,
        coalesce(present.patient_count, 0) / present_all.patient_count as share
    from unit
    join usual_all using (code, is_second)
    join present_all using (code)
    left join usual using (code, is_second, subject)
    left join present using (code, subject)
    where present_all.patient_count >= $min_patients
    and (unit.is_second or usual_all.patient_count >= $min_past_patients)
),
judged_unit as (
    select
        *,
        usual_share = 0 and -patient_count * ln(1 + past_patient_count / all_patient_count) < $log_p_new as is_new,
        abs(share - usual_share) > $share_moved
        and abs(share - usual_share) > $share_errors * sqrt(
            greatest(usual_share * (1 - usual_share), 1 / past_patient_count) / all_patient_count
        ) as is_moved
    from compared
)
select
    code,
    subject,
    max(value_count) as value_count,
    max(part_count) as passed_count,
    max(patient_count) as patient_count,
    max(usual_share) filter (not is_second) as usual_share,
    max(share) as share,
    bool_and(is_new) as is_new
from judged_unit
group by code, subject
having bool_and(is_new or is_moved) and bool_or(not is_second)
order by code, subject
