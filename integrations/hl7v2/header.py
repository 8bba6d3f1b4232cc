"""The header of a message (MSH): how the message is written, what it is, and when it was sent."""

import re
from dataclasses import dataclass, replace

# HL7 table 0211. Multi-byte sets that need state or two bytes a character are left out: a message in one is unreadable.
CHARSETS = {
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    **{f"8859/{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}
MESSAGE_TYPE = re.compile(r"[A-Z0-9]{3}", re.ASCII)
LAST_FIELD = 25  # no version has more in MSH
HIGHLIGHTS = ("H", "N")
BREAKS = (".br", ".sp")


@dataclass(frozen=True, kw_only=True)
class Header:
    """`sender`: application and facility (MSH-3, MSH-4) as sent, joined by `|`.

    `problem_detail` names the field that makes the whole message unreadable; null when all is in order.
    """

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    charset: str = "utf-8"
    message_type: str = ""
    sender: str = ""
    control_id: str | None = None
    sent_at: str | None = None
    problem_detail: str | None = None

    def plain(self, text: str) -> str | None:
        """Return a text without escapes; null when nothing was sent, or `""`."""
        if self.escape and self.escape in text:
            text = self._unescaped(text)
        text = text.strip()
        return None if text in ("", '""') else text

    def first(self, field: str) -> str | None:
        """Return the first component of the first repetition."""
        return self.plain(self.repeated(field)[0].partition(self.component)[0]) if field else None

    def part(self, field: str) -> str:
        """The first part of a first component that has several: the ward of `4W&1.2.3&ISO^12`."""
        return field.partition(self.subcomponent)[0] if self.subcomponent else field

    def repeated(self, field: str) -> list[str]:
        """Return the repetitions of a field."""
        return field.split(self.repetition) if self.repetition else [field]

    def components(self, field: str, count: int) -> list[str]:
        """Return the first `count` components, empty where not sent."""
        found = field.split(self.component, count)[:count]
        return found + [""] * (count - len(found))

    def _unescaped(self, text: str) -> str:
        """Replace each escape sequence; one that is not known stays as sent."""
        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]*){mark}", self._meaning, text)

    def _meaning(self, sequence: re.Match[str]) -> str:
        name = sequence[1]
        delimiters = {
            "F": self.field,
            "S": self.component,
            "T": self.subcomponent,
            "R": self.repetition,
            "E": self.escape,
        }
        if name in delimiters:
            return delimiters[name]
        if name in HIGHLIGHTS:
            return ""
        if name.startswith(BREAKS):
            return "\n"
        if name.startswith("X"):
            try:
                return bytes.fromhex(name[1:]).decode(self.charset)
            except ValueError:
                return sequence[0]
        return sequence[0]


def read_header(segment: bytes, encoding: str = "utf-8") -> Header:
    """Read the first segment of a message; it names its delimiters itself (MSH-1, MSH-2).

    `encoding`: of a message that does not say (MSH-18).
    """
    text = segment.decode("latin-1")
    if not text.startswith("MSH"):
        return Header(problem_detail="MSH")
    sent = text.split(text[3], LAST_FIELD) if len(text) > 3 else [text]
    marks = [text[3:4], *"".join(sent[1:2])[:4]]
    if len(marks) < 2 or len(set(marks)) < len(marks) or any(mark.isalnum() or mark.isspace() for mark in marks):
        return Header(problem_detail="MSH-2")
    field, component, repetition, escape, subcomponent = (*marks, "", "", "")[:5]
    header = Header(field=field, component=component, repetition=repetition, escape=escape, subcomponent=subcomponent)
    fields = sent + [""] * (18 - len(sent))  # MSH-1 is the delimiter itself: MSH-n stands at n - 1
    message_type = _message_type(header.components(fields[8], 3))
    charset = _charset(header.repeated(fields[17])[0], encoding)
    return replace(
        header,
        charset=charset or header.charset,
        message_type=message_type or "",
        sender="|".join(fields[2:4]),
        control_id=header.plain(fields[9]),
        sent_at=header.first(fields[6]),
        problem_detail="MSH-9" if message_type is None else "MSH-18" if charset is None else None,
    )


def _charset(sent: str, encoding: str) -> str | None:
    """Return Python's name of a character set; several write `ISO 8859-1` for `8859/1`."""
    if not sent.strip():
        return encoding
    return CHARSETS.get(sent.strip().upper().removeprefix("ISO ").replace("8859-", "8859/"))


def _message_type(components: list[str]) -> str | None:
    """Return `ORU^R01`, or null when no type can be read. The trigger may stand only in the structure, or nowhere."""
    kind, trigger, structure = (component.strip() for component in components)
    trigger = trigger or structure.partition("_")[2]
    if not MESSAGE_TYPE.fullmatch(kind) or (trigger and not MESSAGE_TYPE.fullmatch(trigger)):
        return None
    return f"{kind}^{trigger}" if trigger else kind
