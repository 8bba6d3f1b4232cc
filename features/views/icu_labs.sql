-- Laboratory results of the 48 h before prediction_time in intensive care, as known then. One row per spine row; null when not
-- measured in the window. Lactate is that of blood, gases are those of arteries. Of two values of one time the higher stands.
-- codes: 3094-0 urea_nitrogen mg_dl
-- codes: 2160-0 creatinine mg_dl
-- codes: 2345-7 glucose mg_dl
-- codes: 1963-8 bicarbonate mmol_l
-- codes: 20570-8 hematocrit percent
-- codes: 2823-3 potassium mmol_l
-- codes: 2951-2 sodium mmol_l
-- codes: 19123-9 magnesium mg_dl
-- codes: 777-3 platelets 10e3_ul
-- codes: 6690-2 leukocytes 10e3_ul
-- codes: 32693-4 lactate mmol_l
-- codes: 2744-1 arterial ph
-- codes: 2019-8 carbon_dioxide_tension mm_hg
-- codes: 2703-7 oxygen_tension mm_hg
-- codes: 1975-2 bilirubin mg_dl
-- codes: 1751-7 albumin g_dl
-- codes: 6768-6 alkaline_phosphatase iu_l
-- codes: 1742-6 alanine_aminotransferase iu_l
-- codes: 1920-8 aspartate_aminotransferase iu_l
-- codes: 6598-7 troponin_t ng_ml
-- codes: 10839-9 troponin_i ng_ml
-- hold window: 49 hours
-- owner: intensive care
-- freshness: 6 hours
with numbered as materialized (
    select encounter_id, prediction_time, patient_id, row_number() over () as spine_row from spine
),

person as materialized (
    select s.spine_row, s.prediction_time, p.other_patient_id
    from numbered as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

-- the window holds its first instant: a stay of 48 h begins with it
summed as (
    select
        person.spine_row,
        case
            -- for each {word}
            when o.code in ({codes}) then '{word}'
            -- end
        end as analyte,
        -min(row(o.effective_at, -o.value_number))[2] as first_value,
        max(row(o.effective_at, o.value_number))[2] as last_value,
        min(o.value_number) as lowest,
        max(o.value_number) as highest
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at >= person.prediction_time - interval 48 hours
    where o.code in ({all_codes})
    and o.value_number is not null
    group by all
)

select
    s.encounter_id,
    s.prediction_time,
    -- for each {word}
    max(v.first_value) filter (where v.analyte = '{word}')
        as {word}_first_48h_{unit},             -- first of 48 h
    max(v.last_value) filter (where v.analyte = '{word}')
        as {word}_last_48h_{unit},              -- last of 48 h
    max(v.lowest) filter (where v.analyte = '{word}')
        as {word}_lowest_48h_{unit},            -- lowest of 48 h
    max(v.highest) filter (where v.analyte = '{word}')
        as {word}_highest_48h_{unit},           -- highest of 48 h
    -- end
from numbered as s
left join summed as v on v.spine_row = s.spine_row
group by s.spine_row, s.encounter_id, s.prediction_time
