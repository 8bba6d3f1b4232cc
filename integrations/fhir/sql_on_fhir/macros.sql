-- The bare id in a reference: 'Patient/p1', 'http://x/fhir/Patient/p1/_history/3', 'Patient/p1#name', 'urn:uuid:p1'.
-- Null when it is to another type, to a contained resource ('#p1'), or a search ('Patient?identifier=1').
create or replace temp macro reference_key(reference, type_name) as
case
    when starts_with(reference, type_name || '/')
        and not contains(substr(reference, length(type_name) + 2), '/')
        and not contains(reference, '#')
        and not contains(reference, '?')
        then nullif(substr(reference, length(type_name) + 2), '')
    when starts_with(reference, 'urn:') then nullif(regexp_extract(reference, '([^:#?]+)(#.*)?$', 1), '')
    else nullif(regexp_extract(reference, '^([^?#]*/)?' || type_name || '/([^/?#]+)(/_history/[^/?#]+)?(#.*)?$', 2), '')
end;

-- The same, whatever its type.
create or replace temp macro any_reference_key(reference) as
case
    when starts_with(reference, 'urn:') then nullif(regexp_extract(reference, '([^:#?]+)(#.*)?$', 1), '')
    else nullif(regexp_extract(reference, '^([^?#]*/)?[A-Z][A-Za-z]+/([^/?#]+)(/_history/[^/?#]+)?(#.*)?$', 2), '')
end;

-- Half a unit of the last digit below and above a decimal as it was written: 1.0 lies between 0.95 and 1.05.
create or replace temp macro half_a_unit(number) as
0.5 * pow(10.0, coalesce(try_cast(regexp_extract(number, '[eE]([+-]?[0-9]+)', 1) as integer), 0)
    - length(regexp_extract(number, '\.([0-9]+)', 1)));
create or replace temp macro finite(number) as case when isfinite(number) then number end;
create or replace temp macro low_of_decimal(number) as
finite(round(try_cast(number as double) - half_a_unit(number), 15));
create or replace temp macro high_of_decimal(number) as
finite(round(try_cast(number as double) + half_a_unit(number), 15));

-- The first and the last day of a year or a month; a whole date is both.
create or replace temp macro low_of_date(text) as
case length(text) when 4 then text || '-01-01' when 7 then text || '-01' else text end;
create or replace temp macro high_of_date(text) as
case length(text)
    when 4 then text || '-12-31'
    when 7 then strftime(last_day(try_cast(text || '-01' as date)), '%Y-%m-%d')
    else text
end;

-- The first and the last millisecond of a time of day: '12:34', '12:34:56', '12:34:56.7'.
create or replace temp macro low_of_time(text) as
case when contains(text, '.') then rpad(text, greatest(length(text), 12)::integer, '0')
    else text || substr('00:00:00.000', length(text) + 1) end;
create or replace temp macro high_of_time(text) as
case when contains(text, '.') then rpad(text, greatest(length(text), 12)::integer, '9')
    else text || substr('00:59:59.999', length(text) + 1) end;

-- The same of a date or a moment; where no zone is said, the earliest and the latest on earth.
create or replace temp macro low_of_moment(text) as
case when contains(text, 'T')
    then substr(text, 1, 11) || low_of_time(regexp_extract(text, 'T([0-9:.]+)', 1))
        || coalesce(nullif(regexp_extract(text, 'T[0-9:.]+([Z+-].*)$', 1), ''), '+14:00')
    else low_of_date(text) || 'T00:00:00.000+14:00' end;
create or replace temp macro high_of_moment(text) as
case when contains(text, 'T')
    then substr(text, 1, 11) || high_of_time(regexp_extract(text, 'T([0-9:.]+)', 1))
        || coalesce(nullif(regexp_extract(text, 'T[0-9:.]+([Z+-].*)$', 1), ''), '-12:00')
    else high_of_date(text) || 'T23:59:59.999-12:00' end;

-- JSON with its numbers in quotes, since a reader of JSON makes 1.5 of 1.50; what stands in strings is passed over.
create or replace temp macro numbers_as_text(json_text) as
case when not json_valid(json_text) then json_text else
    array_to_string(
        list_transform(
            regexp_extract_all(json_text, '"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[^"0-9-]+|.'),
            lambda token: case when regexp_matches(token, '^-?[0-9]') then '"' || token || '"' else token end
        ),
        ''
    )
end;
