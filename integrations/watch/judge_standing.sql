-- Codes of this extract that an open blocking finding says arrive wrong: of how many patients results came now.
select past_finding.kind, past_finding.subject, sum(figure.value_count) as value_count,
    sum(figure.patient_count) as patient_count
from (
    select distinct kind, subject
    from past_finding
    where severity = 'blocking' and not is_released and kind in ('scale_jump', 'unit_mix')
) as past_finding
join watch_figure as figure
    on figure.kind = 'code'
    and figure.code = past_finding.subject
    and figure.value_count > 0
group by past_finding.kind, past_finding.subject
order by past_finding.kind, past_finding.subject
