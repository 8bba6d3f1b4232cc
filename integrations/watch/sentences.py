"""From figures that differ to findings that people can act upon: how severe, in which words, and what to do."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from integrations.watch.bounds import JUNK_BLOCKS, MIN_PATIENTS, RENAMED_SAME
from integrations.watch.conversions import named_conversion
from integrations.watch.extent import Extent
from integrations.watch.finding import Found, Severity, rank

Row = Mapping[str, Any]
ASK = "ask the sender"
RELEASE = "then rounds watch release"


def name(row: Row, extent: Extent, loinc_codes: Collection[str], present: Mapping[str, list[str]]) -> Found:
    """A code, ward or sender that is new, gone or renamed. present: by LOINC code what it is sent under now."""
    kind, subject = row["finding"], row["subject"]
    evidence = {
        "log10_chance": round(row["log_p"] / 2.302585, 1),
        "expected_patients": round(row["expected_count"], 1),
        "patients": row["patient_count"],
    }
    since_at = row["since_at"] or extent.since_at
    if kind == "code_renamed":
        return _renamed(row, loinc_codes, evidence)
    if kind == "code_vanished":
        others = [each for each in present.get(row["code"], ()) if each != subject]
        severity: Severity = "warning" if others else "blocking"
        if row["code"] not in loinc_codes:
            severity = "note"
        is_sent = f"; {row['code']} still comes, as {', '.join(others)}" if others else ""
        sentence = (
            f"code {subject} has not come for {row['days_without']:.1f} days, in which results of "
            f"{row['expected_count']:.0f} patients were to be expected{is_sent}"
        )
        to_do = f"{ASK} where it is; {RELEASE}, once it comes again or is known to be gone"
        codes = (row["code"],) if row["code"] in loinc_codes else ()
        return Found(
            kind=kind,
            subject=subject,
            severity=severity,
            codes=codes,
            since_at=since_at,
            evidence=evidence,
            sentence=sentence,
            to_do=to_do,
        )
    what, _, how = kind.partition("_")
    if how == "vanished":
        sentence = f"{what} {subject} has not come for {row['days_without']:.1f} days"
        to_do = f"{ASK} whether it is closed; {RELEASE}"
    else:
        counted = "messages" if what == "sender" else "patients"
        sentence = f"{what} {subject} was never sent before, and now for {row['patient_count']:,} {counted}"
        to_do = f"{ASK} what it is; {RELEASE}"
    is_known = what == "code" and row["code"] in loinc_codes
    return Found(
        kind=kind,
        subject=subject,
        severity="note" if is_known else "warning",
        codes=(row["code"],) if is_known else (),
        since_at=since_at,
        evidence=evidence,
        sentence=sentence,
        to_do=to_do if is_known or what != "code" else "map it in codes.csv, or declare it out of scope; then retry",
    )


def _renamed(row: Row, loinc_codes: Collection[str], evidence: dict[str, Any]) -> Found:
    ratio = 10.0 ** row["shift"]
    is_same_scale = abs(row["shift"]) < RENAMED_SAME
    is_declared = row["new_code"] == row["code"]
    severity: Severity = "note" if is_declared and is_same_scale else "blocking"
    if row["code"] not in loinc_codes:
        severity = "note"
    scale = "on the same scale" if is_same_scale else f"{ratio:.3g} times as high"
    sentence = (
        f"code {row['subject']} does not come any more; {row['new_subject']} came in its place, for "
        f"{row['patient_count']:,} patients where {row['expected_count']:.0f} were to be expected, {scale}"
    )
    conversion = None if is_same_scale else named_conversion(row["code"], 1.0, ratio)
    return Found(
        kind="code_renamed",
        subject=row["subject"],
        severity=severity,
        codes=tuple(code for code in dict.fromkeys((row["code"], row["new_code"])) if code in loinc_codes),
        since_at=row["since_at"],
        evidence={**evidence, "new_code": row["new_subject"], "ratio": round(ratio, 4)},
        sentence=f"{sentence}: {conversion.sentence}" if conversion else sentence,
        to_do=f"{ASK} whether it is the same test; name the new code and its unit in codes.csv, rounds quarantine "
        f"retry; {RELEASE}",
    )


def scale(row: Row, extent: Extent) -> Found:
    """Values on another scale. Where none of them came through, quarantine holds them already."""
    ratio, usual = 10.0 ** row["shift"], 10.0 ** row["usual_middle"]
    conversion = named_conversion(row["code"], usual, ratio)
    what = "the middle" if row["is_whole"] else "an outer tenth"
    sentence = (
        f"{row['code']}: {what} of {row['value_count']:,} values is {ratio:.3g} times what it was "
        f"({10.0 ** row['middle']:.3g} now, {usual:.3g} before)"
    )
    if conversion:
        sentence += f": {conversion.sentence}"
    if not row["passed_count"]:
        sentence += "; all of them lie in quarantine"
    return Found(
        kind="scale_jump",
        subject=row["code"],
        severity="blocking" if row["passed_count"] else "warning",
        codes=(row["code"],),
        since_at=extent.since_at,
        evidence={
            "ratio": round(ratio, 4),
            "middle": float(f"{10.0 ** row['middle']:.4g}"),
            "usual_middle": float(f"{usual:.4g}"),
            "values": row["value_count"],
            "patients": row["patient_count"],
            "passed": row["passed_count"],
            "past_days": row["day_count"],
            "past_patients": row["past_patient_count"],
        },
        sentence=sentence,
        to_do=f"{ASK} for the unit; let it send again, or name the unit in codes.csv; {RELEASE}",
    )


def standing(row: Row, extent: Extent) -> Found:
    """A code that arrived wrong before, and of which too little came now to say that it is mended."""
    return Found(
        kind=row["kind"],
        subject=row["subject"],
        severity="blocking",
        codes=(row["subject"],),
        since_at=extent.since_at,
        evidence={"values": row["value_count"], "patients": row["patient_count"]},
        sentence=f"{row['subject']} arrived wrong before, and nobody has released that; {row['value_count']:,} "
        "values now are too few to say that it is mended",
        to_do=f"{ASK} whether it is mended; {RELEASE}",
    )


def units(rows: Sequence[Row], extent: Extent, *, same_scale: Collection[str]) -> Iterator[Found]:
    """Units of a code in other shares. A declared one is converted; a number without any is read as the usual one."""
    for code, its in groupby(rows, key=lambda row: str(row["code"])):
        moved = list(its)
        severity: Severity = max((_unit_severity(row, code in same_scale) for row in moved), key=rank)
        said = ", ".join(f"{row['subject']} {row['usual_share'] or 0:.0%} -> {row['share']:.0%}" for row in moved)
        yield Found(
            kind="unit_mix",
            subject=code,
            severity=severity,
            codes=(code,),
            since_at=extent.since_at,
            evidence={
                row["subject"]: {"usual_share": round(row["usual_share"] or 0, 4), "share": round(row["share"], 4)}
                for row in moved
            },
            sentence=f"units of {code}, by patients: {said}",
            to_do=f"{ASK} whether the unit was changed; {RELEASE}",
        )


def _unit_severity(row: Row, is_same_scale: bool) -> Severity:
    if row["share"] <= (row["usual_share"] or 0):
        return "note"
    if not row["passed_count"]:
        return "warning"
    return "blocking" if row["subject"].endswith(" in no unit") and not is_same_scale else "note"


def share(row: Row, extent: Extent) -> Found:
    """A share that has risen: junk, corrected, duplicates."""
    kind, subject = row["kind"], row["subject"]
    is_gone = kind == "junk" and row["share"] >= JUNK_BLOCKS and row["patient_count"] >= MIN_PATIENTS
    words = {
        "junk": f"{subject}: {row['share']:.1%} are words of nothing (NA, NULL, ----, empty)",
        "corrected": f"{subject}: {row['share']:.1%} of the results correct or withdraw an earlier one",
        "duplicates": f"{row['share']:.1%} of the records of {subject} say nothing new",
    }
    return Found(
        kind=kind,
        subject=subject,
        severity="blocking" if is_gone else "warning",
        codes=(row["code"],) if kind == "junk" else (),
        since_at=extent.since_at,
        evidence={
            "share": round(row["share"], 4),
            "usual_share": round(row["usual_share"], 4),
            "values": row["value_count"],
            "of_them": row["part_count"],
            "past_values": row["past_value_count"],
        },
        sentence=f"{words[kind]}, usual are {row['usual_share']:.1%}",
        to_do=f"{ASK}; what is missing is not normal; {RELEASE}",
    )


def delay(row: Row, extent: Extent) -> Found:
    """Results that take longer than they did, or than the contract allows."""
    said = [
        f"results ({row['subject']}) take {10 ** row['middle'] / 60:.1f} h in the middle and "
        f"{10 ** row['high'] / 60:.1f} h in the slowest tenth from collected to issued"
    ]
    if row["is_longer"]:
        said.append(f"usual are {10 ** row['usual_middle'] / 60:.1f} h and {10 ** row['usual_high'] / 60:.1f} h")
    if row["is_overdue"]:
        said.append(f"{row['overdue_count']:,} of {row['value_count']:,} took longer than the contract's lateness")
    return Found(
        kind="delay",
        subject=row["subject"],
        severity="warning",
        since_at=extent.since_at,
        evidence={
            "middle_minutes": round(10 ** row["middle"]),
            "slowest_tenth_minutes": round(10 ** row["high"]),
            "values": row["value_count"],
            "overdue": row["overdue_count"],
        },
        sentence="; ".join(said),
        to_do=f"{ASK}; scores of this time were made without these results; {RELEASE}",
    )


def volume(row: Row) -> Found:
    """Fewer results of a ward than its patients let expect."""
    return Found(
        kind="volume",
        subject=row["ward"],
        severity="warning",
        since_at=row["since_at"],
        evidence={
            "results": int(row["result_count"]),
            "expected": round(row["expected_count"], 1),
            "patient_days": round(row["patient_days"], 1),
            "standard_errors": round(row["errors"], 1),
            "over": row["span"],
        },
        sentence=f"ward {row['ward']}: {row['result_count']:,} results in {row['span']} where its patients let expect "
        f"{row['expected_count']:,.0f}: {row['lost_share']:.0%} are missing",
        to_do=f"{ASK} whether an analyser or interface of this ward is down; {RELEASE}",
    )
