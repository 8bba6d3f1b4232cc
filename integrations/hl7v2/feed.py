"""What the contract of a feed says of its messages."""

from collections.abc import Set
from dataclasses import dataclass, field

from integrations.contract import Contract
from integrations.contract_parts import PatientsOf
from integrations.hl7v2.words import Words

RESULTS = frozenset({"ORU", "ORU^R01", "OUL^R22", "OUL^R23", "OUL^R24"})
ADMISSIONS = frozenset(f"ADT^A{trigger:02}" for trigger in (*range(1, 9), 11, 12, 13, 37, 40))
OF_ADMISSIONS = ("encounter", "encounter_location", "patient")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Whose patients it speaks of, which tables it feeds, how it writes, and its own words."""

    patients_of: PatientsOf
    tables: Set[str] = frozenset({"observation", "patient_link"})
    encoding: str = "utf-8"
    words: Words = field(default_factory=dict)
    days_are_times: Set[tuple[str, str]] = frozenset()  # table and column: a date alone stands for an instant

    @classmethod
    def of(cls, contract: Contract) -> "Feed":
        """The feed of a contract of kind hl7v2."""
        if contract.patients_of is None:
            raise ValueError(f"{contract.source} has no patients_of")
        messages = contract.messages
        return cls(
            patients_of=contract.patients_of,
            tables=contract.tables.keys(),
            encoding=messages.encoding.replace("-", "_"),
            words={str(field): words for field, words in messages.words.items()},
            days_are_times={(name, column) for name, table in contract.tables.items() for column in table.dates_alone},
        )

    def is_result(self, message_type: str) -> bool:
        """Whether messages of this type bring results that the feed is asked for."""
        return message_type in RESULTS and "observation" in self.tables

    def is_admission(self, message_type: str) -> bool:
        """Whether messages of this type bring stays or patients that the feed is asked for."""
        return message_type in ADMISSIONS and not self.tables.isdisjoint(OF_ADMISSIONS)

    @property
    def first_table(self) -> str:
        """The table in whose account stands what belongs to none: messages of other kinds, what cannot be read."""
        return next(table for table in ("observation", *OF_ADMISSIONS, "patient_link") if table in self.tables)
