-- What each line says of a study, in words: one row per line. Dates and times are those of DICOM (DA, TM; the old forms with
-- dots and colons too), brought together as ISO text; without TimezoneOffsetFromUTC the time zone of the feed counts.
with parsed as (
    select
        record_file,
        record_line,
        is_beyond_limits,
        try(from_json(
            raw,
            '{
                "unreadable": "VARCHAR",
                "0020000D": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00080020": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00080030": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00080201": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00100020": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00100021": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00080061": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00180015": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00201206": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00080050": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                "00081115": {
                    "unreadable": "BOOLEAN",
                    "Value": [{
                        "0020000E": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                        "00200011": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                        "00080060": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"},
                        "00180015": {"Value": ["VARCHAR"], "unreadable": "BOOLEAN"}
                    }]
                }
            }'
        )) as study
    from line_study
),
named as (
    select
        record_file,
        record_line,
        case
            when study is null and is_beyond_limits then 'beyond_limits'
            when study is null then 'not_json'
            else study.unreadable
        end as record_problem,
        case
            when study."00100020".unreadable then 'PatientID'
            when study."00100021".unreadable then 'IssuerOfPatientID'
        end as unread_of_patient,
        case
            when study."0020000D".unreadable then 'StudyInstanceUID'
            when study."00080020".unreadable then 'StudyDate'
            when study."00080030".unreadable then 'StudyTime'
            when study."00080201".unreadable then 'TimezoneOffsetFromUTC'
            when study."00080061".unreadable then 'ModalitiesInStudy'
            when study."00180015".unreadable then 'BodyPartExamined'
            when study."00201206".unreadable then 'NumberOfStudyRelatedSeries'
            when study."00080050".unreadable then 'AccessionNumber'
            when study."00081115".unreadable then 'ReferencedSeriesSequence'
            when len(list_filter(study."00081115".Value, lambda each: coalesce(each."0020000E".unreadable, false)
                or coalesce(each."00200011".unreadable, false) or coalesce(each."00080060".unreadable, false)
                or coalesce(each."00180015".unreadable, false))) > 0 then 'ReferencedSeriesSequence'
        end as unread_of_study,
        study."0020000D".Value[1] as study_uid,
        study."00080020".Value[1] as study_date,
        study."00080030".Value[1] as study_time,
        study."00080201".Value[1] as utc_offset,
        study."00100020".Value[1] as patient_id,
        study."00100021".Value[1] as issuer,
        study."00080061".Value as modalities,
        study."00180015".Value[1] as body_part,
        study."00201206".Value[1] as related_series,
        study."00080050".Value[1] as accession_number,
        list_transform(study."00081115".Value, lambda each: {
            'place': coalesce(try_cast(each."00200011".Value[1] as bigint), 9007199254740992),
            'uid': each."0020000E".Value[1],
            'modality': each."00080060".Value[1],
            'body_part': each."00180015".Value[1]
        }) as series
    from parsed
)
select
    *,
    coalesce(issuer, '') in $authorities or coalesce(issuer = $system or 'urn:oid:' || issuer = $system, false)
        as is_of_our_patients,
    case
        when regexp_full_match(study_date, '\d{8}')
            then study_date[1:4] || '-' || study_date[5:6] || '-' || study_date[7:8]
        when regexp_full_match(study_date, '\d{4}\.\d\d\.\d\d') then replace(study_date, '.', '-')
    end as day,
    case
        when not regexp_full_match(study_time, '\d\d(:?\d\d(:?\d\d(\.\d{1,6})?)?)?') then null
        else replace(study_time, ':', '')[1:2]
            || ':' || coalesce(nullif(replace(study_time, ':', '')[3:4], ''), '00')
            || ':' || coalesce(nullif(replace(study_time, ':', '')[5:], ''), '00')
    end as clock,
    case
        when regexp_full_match(utc_offset, '[+-](0\d|1[0-4])[0-5]\d') then utc_offset[1:3] || ':' || utc_offset[4:5]
    end as zone
from named
