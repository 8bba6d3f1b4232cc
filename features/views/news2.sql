-- National Early Warning Score 2 (NEWS2) at prediction_time, by its parts: Royal College of Physicians. National Early Warning Score
-- (NEWS) 2. London: RCP, 2017. For adults who are not pregnant. One row per spine row.
-- Each part takes the last value of 12 h, the longest that NEWS2 lets a ward wait for the next set; of two values of one time the
-- higher stands. Values are rounded as on the chart: temperature to a tenth, the others to whole numbers.
-- A part that was not measured is null and so is the score, never zero. Where some parts are missing, the score is at least the
-- sum of those that are known (news2_at_least_score).
-- Oxygen saturation is judged by scale 1: no source says for whom a target of 88 to 92 % (scale 2) was prescribed.
-- Air or oxygen is known by the inspired oxygen fraction alone: 21 % is air. Where it is not charted nobody knows, and that is
-- not air. Consciousness is taken from the Glasgow coma score, since no source sends ACVPU: 15 is alert; below it the patient is
-- confused or responds less, which both give 3.
-- codes: 9279-1 respiratory_rate
-- codes: 59408-5 oxygen_saturation
-- codes: 2708-6 oxygen_saturation
-- codes: 3150-6 inspired_oxygen
-- codes: 8480-6 systolic_pressure
-- codes: 76215-3 systolic_pressure
-- codes: 76534-7 systolic_pressure
-- codes: 8867-4 heart_rate
-- codes: 9269-2 consciousness
-- codes: 8310-5 temperature
-- hold window: 12 hours
-- owner: clinical informatics
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

charted as (
    select
        person.spine_row,
        -- for each {word}
        max(row(o.effective_at, o.value_number)) filter (where o.code in ({codes}))[2] as {word},
        -- end
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 12 hours
    where o.code in ({all_codes})
    and o.value_number is not null
    group by person.spine_row
),

part as (
    select
        spine_row,
        case
            when round(respiratory_rate) <= 8 then 3
            when round(respiratory_rate) <= 11 then 1
            when round(respiratory_rate) <= 20 then 0
            when round(respiratory_rate) <= 24 then 2
            when round(respiratory_rate) >= 25 then 3
        end as respiratory_rate,
        case
            when round(oxygen_saturation) <= 91 then 3
            when round(oxygen_saturation) <= 93 then 2
            when round(oxygen_saturation) <= 95 then 1
            when round(oxygen_saturation) >= 96 then 0
        end as oxygen_saturation,
        case
            when round(inspired_oxygen) <= 21 then 0
            when round(inspired_oxygen) > 21 then 2
        end as inspired_oxygen,
        case
            when round(systolic_pressure) <= 90 then 3
            when round(systolic_pressure) <= 100 then 2
            when round(systolic_pressure) <= 110 then 1
            when round(systolic_pressure) <= 219 then 0
            when round(systolic_pressure) >= 220 then 3
        end as systolic_pressure,
        case
            when round(heart_rate) <= 40 then 3
            when round(heart_rate) <= 50 then 1
            when round(heart_rate) <= 90 then 0
            when round(heart_rate) <= 110 then 1
            when round(heart_rate) <= 130 then 2
            when round(heart_rate) >= 131 then 3
        end as heart_rate,
        case
            when round(consciousness) >= 15 then 0
            when round(consciousness) < 15 then 3
        end as consciousness,
        case
            when round(temperature, 1) <= 35.0 then 3
            when round(temperature, 1) <= 36.0 then 1
            when round(temperature, 1) <= 38.0 then 0
            when round(temperature, 1) <= 39.0 then 1
            when round(temperature, 1) > 39.0 then 2
        end as temperature
    from charted
),

listed as (
    select
        *,
        [
            -- for each {word}
            {word},
            -- end
        ] as parts
    from part
)

select
    s.encounter_id,
    s.prediction_time,
    l.respiratory_rate::double
        as respiratory_rate_news2_score,        -- 0 to 3: 12 to 20 a minute give none
    l.oxygen_saturation::double
        as oxygen_saturation_news2_score,       -- 0 to 3, scale 1: 96 % and more give none
    l.inspired_oxygen::double
        as inspired_oxygen_news2_score,         -- 2 on oxygen, 0 on air
    l.systolic_pressure::double
        as systolic_pressure_news2_score,       -- 0 to 3: 111 to 219 mmHg give none
    l.heart_rate::double
        as heart_rate_news2_score,              -- 0 to 3: 51 to 90 a minute give none
    l.consciousness::double
        as consciousness_news2_score,           -- 3 below a coma score of 15
    l.temperature::double
        as temperature_news2_score,             -- 0 to 3: 36.1 to 38.0 Cel give none
    case when list_count(l.parts) = 7 then list_sum(l.parts) end::double
        as news2_score,                         -- sum of the seven parts, 0 to 20; null where one is missing
    list_sum(l.parts)::double
        as news2_at_least_score,                -- sum of the parts that are known; null without any
    coalesce(list_count(l.parts), 0)::double
        as news2_part_count                     -- parts that are known, 0 to 7
from numbered as s
left join listed as l on l.spine_row = s.spine_row
