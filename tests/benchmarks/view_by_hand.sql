-- Ten columns of laboratory results as sent, with the number of each line and the bytes of those that are no JSON.
select
    source_line,
    case when resource is null then line end as refused_line,
    resource.id as id,
    resource.status as status,
    resource.category[1].coding[1].code as category,
    resource.code.coding[1].system as local_system,
    resource.code.coding[1].code as local_code,
    resource.subject.reference as patient,
    resource.encounter.reference as encounter,
    resource.effectiveDateTime as effective_at,
    resource.issued as issued_at,
    resource.valueQuantity.value as value_number
from (
    select
        line,
        source_line,
        try(from_json(line, '{
            "id": "VARCHAR",
            "status": "VARCHAR",
            "category": [{"coding": [{"code": "VARCHAR"}]}],
            "code": {"coding": [{"system": "VARCHAR", "code": "VARCHAR"}]},
            "subject": {"reference": "VARCHAR"},
            "encounter": {"reference": "VARCHAR"},
            "effectiveDateTime": "VARCHAR",
            "issued": "VARCHAR",
            "valueQuantity": {"value": "DOUBLE"}
        }')) as resource
    from (
        select line, row_number() over ()::integer as source_line
        from read_csv(
            $file,
            columns = {line: 'VARCHAR'},
            delim = e'\x01',
            quote = '',
            escape = '',
            header = false,
            auto_detect = false,
            max_line_size = 33554432
        )
    )
)
