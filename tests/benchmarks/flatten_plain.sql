-- The least that can be called flattening: ten columns as sent, no code looked up, no limit, no account.
select
    id,
    status,
    category[1].coding[1].code as category,
    code.coding[1].system as local_system,
    code.coding[1].code as local_code,
    subject.reference as patient,
    encounter.reference as encounter,
    effectiveDateTime as effective_at,
    issued as issued_at,
    valueQuantity.value as value_number
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
        valueQuantity: 'STRUCT(value DOUBLE)'
    }
)
