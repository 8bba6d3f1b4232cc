"""Which identifiers link: those of a system that the contract's person_systems names, unless the value is a filler.

A mother and her newborn share an insurance number, a household a telephone number: such systems name no person. One
that is listed is never given to another person, so an old or ended identifier still links the one who had it.
"""

from integrations.contract import Contract
from integrations.duck import quoted

OTHER_SYSTEM, FILLER = "identifier_of_no_person", "filler_for_an_identifier"
# What clerks and interfaces write where they know no identifier; judged without blanks, dashes and other marks.
FILLERS = "0*|9{4,}|x+|unknown|none|null|nil|na|tbd|test|pending|missing|unavailable|notavailable|anonymous"


def link_scope_cases(contract: Contract) -> list[str]:
    """The cases of a SQL expression that says why an identifier is left out; none of them: it links."""
    systems = ", ".join(quoted(system) for system in contract.person_systems)
    letters_and_digits = "regexp_replace(lower(value), '[^\\p{L}\\p{N}]', '', 'g')"
    return [
        f"when system not in ({systems}) then {quoted(OTHER_SYSTEM)}",
        f"when regexp_full_match({letters_and_digits}, {quoted(FILLERS)}) then {quoted(FILLER)}",
    ]
