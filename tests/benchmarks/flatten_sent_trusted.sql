-- The lines of a file as someone reads them who trusts every one of them.
select *, row_number() over ()::integer as source_line
from read_json(
    $file,
    format = 'newline_delimited',
    columns = {
        id: 'VARCHAR',
        status: 'VARCHAR',
        category: 'STRUCT(coding STRUCT(code VARCHAR)[])[]',
        code: 'STRUCT(coding STRUCT(system VARCHAR, code VARCHAR)[])',
        subject: 'STRUCT(reference VARCHAR)',
        encounter: 'STRUCT(reference VARCHAR)',
        effectiveDateTime: 'TIMESTAMPTZ',
        issued: 'TIMESTAMPTZ',
        valueQuantity: 'STRUCT(value DOUBLE, code VARCHAR, comparator VARCHAR)',
        valueString: 'VARCHAR',
        valueCodeableConcept: 'STRUCT(coding STRUCT(code VARCHAR)[])'
    }
)
