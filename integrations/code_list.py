"""What a source's codes.csv comes to: how many codes are mapped, which, and how many are out of scope and why."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from integrations.codes import CodeMeaning
from integrations.markdown import code, codes, link, plain, table


def code_sections(meanings: Sequence[CodeMeaning]) -> Iterator[str]:
    """Give the part of a page that is about codes; a source without codes has none."""
    if not meanings:
        return
    yield "## Codes"
    yield (
        f"{link('codes.csv', 'codes.csv')} names {len(meanings):,} codes. A code or a unit that it does not name is "
        "quarantined, never guessed."
    )
    yield table(("Codes", "What becomes of them", "Why"), _numbers(meanings))
    yield "### Mapped codes"
    yield table(("LOINC", "What is measured", "Kept in", "Sent as", "Sent in", "Note"), _mapped(meanings))


def _numbers(meanings: Iterable[CodeMeaning]) -> Iterator[tuple[str, str, str]]:
    """Count the codes by what becomes of them, the most frequent reason first."""
    mapped = sum(1 for each in meanings if each.loinc)
    yield f"{mapped:,}", "mapped to LOINC", ""
    reasons = Counter(_reason(each) for each in meanings if not each.loinc)
    for reason, count in sorted(reasons.items(), key=lambda found: (-found[1], found[0])):
        yield f"{count:,}", "out of scope", plain(reason)


def _reason(each: CodeMeaning) -> str:
    """Return why a code is out of scope, without the name of the code that a list of many may put before it."""
    name, colon, reason = each.reason.partition("): ")
    return reason if colon and "(" in name else each.reason


def _mapped(meanings: Iterable[CodeMeaning]) -> Iterator[tuple[str, ...]]:
    """Give one row per LOINC code, in the order of codes.csv."""
    by_loinc: dict[str, list[CodeMeaning]] = {}
    for each in meanings:
        if each.loinc:
            by_loinc.setdefault(each.loinc, []).append(each)
    for loinc, found in by_loinc.items():
        analyte, units = found[0].analyte, [unit for each in found for unit in each.units]
        yield (
            loinc,
            plain(analyte.name) if analyte else "",
            code(units[0].unit) if units else "words",
            codes(dict.fromkeys(each.local_code for each in found)),
            codes(dict.fromkeys(unit.sent for unit in units)),
            plain("; ".join(dict.fromkeys(each.reason for each in found if each.reason))),
        )
