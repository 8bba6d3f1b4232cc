"""The answer "as of T" in plain Python, from the words of architecture.md alone: no SQL, nothing of the house."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Fact = Mapping[str, Any]


class Oracle:
    """All versions of all facts, asked one by one. `keys` names the key of each table, `authorities` the feeds."""

    def __init__(
        self,
        facts: Mapping[str, Sequence[Fact]],
        keys: Mapping[str, str],
        authorities: Iterable[str],
        most_ids: int,
        *,
        is_last_wins: bool = True,
    ) -> None:
        self.authorities, self.most_ids, self.is_last_wins = set(authorities), most_ids, is_last_wins
        self.versions: dict[str, dict[str, list[Fact]]] = {}
        for table, rows in facts.items():
            of_table: dict[str, list[Fact]] = defaultdict(list)
            for row in rows:
                of_table[row[keys[table]]].append(row)
            self.versions[table] = of_table
        self.links: dict[str, list[Fact]] = defaultdict(list)
        self.sharers: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        for row in facts["patient_link"]:
            self.links[row["patient_id"]].append(row)
            self.sharers[row["system"], row["value"]].append(row)
        self.of_order: dict[tuple[Any, ...], list[Fact]] = defaultdict(list)
        for row in facts["observation"]:
            if row.get("order_number") is not None:
                self.of_order[self._same_result(row)].append(row)

    def known(self, table: str, key: str, at: datetime) -> Fact | None:
        """Return the last version with available_at <= at; of several told at once that of the later extract."""
        told = [row for row in self.versions[table].get(key, ()) if row["available_at"] <= at]
        if len(told) < 2:
            return told[0] if told else None
        moment = max(row["available_at"] for row in told)
        newest = [row for row in told if row["available_at"] == moment]
        turn = max if self.is_last_wins else min
        return turn(newest, key=lambda row: (row["extract_id"], row["source_file"], row["source_line"]))

    def seen(self, key: str, at: datetime) -> Fact | None:
        """Return the known version of a result, unless it is a copy of another one that is known."""
        row = self.known("observation", key, at)
        return None if row is None or self._is_copy(row, at) else row

    def person(self, patient: str, at: datetime) -> frozenset[str]:
        """Return every number of a person: whoever shares an identifier with one of them, both links standing."""
        found, asked = {patient}, [patient]
        while asked:
            for link in self.links[asked.pop()]:
                identifier = (link["system"], link["value"])
                if self._stands(link, at) and not self._is_filler(identifier, at):
                    others = {row["patient_id"] for row in self.sharers[identifier] if self._stands(row, at)}
                    asked += sorted(others - found)
                    found |= others
        return frozenset(found)

    def _stands(self, link: Fact, at: datetime) -> bool:
        is_told = link["available_at"] <= at and not link["is_retracted"]
        return is_told and self.known("patient_link", link["link_id"], at) is link

    def _is_filler(self, identifier: tuple[str, str], at: datetime) -> bool:
        ever = {
            row["patient_id"]
            for row in self.sharers[identifier]
            if row["available_at"] <= at and not row["is_retracted"]
        }
        return len(ever) > self.most_ids

    def _is_copy(self, row: Fact, at: datetime) -> bool:
        if row.get("order_number") is None:
            return False
        others = [each for each in self.of_order[self._same_result(row)] if each["available_at"] <= at]
        through_authority = [
            each
            for each in others
            if each["source"] in self.authorities
            and row["source"] not in self.authorities
            and each["site_id"] == row["site_id"]
        ]
        person = self.person(row["patient_id"], at)
        if any(each["patient_id"] in person for each in through_authority):
            return True
        return any(
            each["patient_id"] in person - {row["patient_id"]} and self._first_told(each) > row["available_at"]
            for each in others
            if each["source"] == row["source"]
        )

    def _first_told(self, row: Fact) -> datetime:
        """When the feed first told of this result under this number."""
        same = (row["patient_id"], row["observation_id"], row["source"])
        told: list[datetime] = [
            each["available_at"]
            for each in self.of_order[self._same_result(row)]
            if (each["patient_id"], each["observation_id"], each["source"]) == same
        ]
        return min(told)

    def _same_result(self, row: Fact) -> tuple[Any, ...]:
        return (row["order_number"], row["code"], row["effective_at"])
