-- The bare id in a reference, null when it is to another type: 'Patient/p1', 'http://x/fhir/Patient/p1/_history/3', 'urn:uuid:p1'.
create or replace temp macro reference_key(reference, type_name) as
case
    when starts_with(reference, type_name || '/') and not contains(substr(reference, length(type_name) + 2), '/')
        then substr(reference, length(type_name) + 2)
    when starts_with(reference, 'urn:') then regexp_extract(reference, '[^:]+$')
    else nullif(regexp_extract(reference, '(^|/)' || type_name || '/([^/?#]+)(/_history/[^/]+)?$', 2), '')
end;

-- The bare id in a reference, whatever its type.
create or replace temp macro any_reference_key(reference) as
nullif(regexp_extract(reference, '([^/:#?]+?)(/_history/[^/]+)?$', 1), '');
