-- Orders of medications known at prediction_time. One row per spine row. Null when no feed of the site brings medications: what is
-- not sent is not "none". In the stay: null too when the stay is not known.
-- An order is active from its start until its end, while its status says so; one of unknown status is not counted as active, a
-- cancelled one never. A drug is told by its code, and by its name where no code was sent: two names of one drug are two.
-- There are no classes of drugs: that takes a mapping from codes to classes with a licence to use it, and none lies here.
-- codes: none
-- hold window: 0 hours
-- owner: clinical informatics
-- freshness: 24 hours
with person as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

stay as (
    select s.encounter_id, s.prediction_time, e.started_at
    from spine as s
    join encounter as e
        on e.encounter_id = s.encounter_id
        and e.available_at <= s.prediction_time
        and s.prediction_time < e.superseded_at
        and not e.is_retracted
),

-- sites of which a feed brings medications
bringing as (
    select distinct site_id from feed where list_contains(tables, 'medication')
),

ordered as (
    select
        person.encounter_id,
        person.prediction_time,
        coalesce(m.code_system || ' ' || m.code, lower(m.name)) as drug,
        m.status = 'active' and coalesce(m.ended_at > person.prediction_time, true) as is_active,
        m.started_at > person.prediction_time - interval 24 hours as is_24h,
        m.started_at >= stay.started_at as is_of_stay
    from person
    join medication as m
        on m.patient_id = person.other_patient_id
        and m.available_at <= person.prediction_time
        and person.prediction_time < m.superseded_at
        and not m.is_retracted
        and m.started_at <= person.prediction_time
    left join stay
        on stay.encounter_id = person.encounter_id
        and stay.prediction_time = person.prediction_time
    where m.status <> 'cancelled'
),

counted as (
    select
        encounter_id,
        prediction_time,
        count(*) filter (where is_active) as active_orders,
        count(distinct drug) filter (where is_active) as active_drugs,
        count(*) filter (where is_24h) as orders_24h,
        count(distinct drug) filter (where is_24h) as drugs_24h,
        count(distinct drug) filter (where is_of_stay) as drugs_of_stay
    from ordered
    group by encounter_id, prediction_time
)

select
    s.encounter_id,
    s.prediction_time,
    case when bringing.site_id is not null then coalesce(c.active_orders, 0) end::double
        as medication_active_order_count,       -- orders that are active now
    case when bringing.site_id is not null then coalesce(c.active_drugs, 0) end::double
        as medication_active_drug_count,        -- different drugs among them
    case when bringing.site_id is not null then coalesce(c.orders_24h, 0) end::double
        as medication_started_24h_order_count,  -- orders started in 24 h, not cancelled
    case when bringing.site_id is not null then coalesce(c.drugs_24h, 0) end::double
        as medication_started_24h_drug_count,   -- different drugs among them
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.drugs_of_stay, 0) end::double
        as medication_started_in_stay_drug_count -- different drugs started since admission
from spine as s
left join bringing on bringing.site_id = s.site_id
left join stay
    on stay.encounter_id = s.encounter_id
    and stay.prediction_time = s.prediction_time
left join counted as c
    on c.encounter_id = s.encounter_id
    and c.prediction_time = s.prediction_time
