-- The lines of a file as someone reads them who keeps the number and the bytes of those that are no JSON.
select
    unnest(resource),
    source_line,
    case when resource is null then line end as refused_line
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
            "effectiveDateTime": "TIMESTAMPTZ",
            "issued": "TIMESTAMPTZ",
            "valueQuantity": {"value": "DOUBLE", "code": "VARCHAR", "comparator": "VARCHAR"},
            "valueString": "VARCHAR",
            "valueCodeableConcept": {"coding": [{"code": "VARCHAR"}]}
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
