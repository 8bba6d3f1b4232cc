"""Every error that a person may meet.

RoundsError                what, where, what to do; exit code 1
├── Refused                Rounds will not do this, and says why
├── NotInOrder             something was found that should not be so: a broken chain, a touched artifact
├── WrongUsage             the call, a setting, a contract or a card is wrong; exit code 2
└── EnvironmentFault       disk, network, port, a missing part; exit code 3
"""

import difflib
from collections.abc import Collection


class RoundsError(Exception):
    """What went wrong, where, and what to do. Carries ids and counts, never a name or a value of a patient."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", to_do: str = "") -> None:
        self.what, self.where, self.to_do = what, where, to_do
        super().__init__(
            "\n".join(part for part in (what, where and f"where: {where}", to_do and f"do: {to_do}") if part)
        )


class Refused(RoundsError):
    """Rounds will not do this, and says why."""


class NotInOrder(RoundsError):
    """Something was found that should not be so."""


class WrongUsage(RoundsError):
    """The call, a setting, a contract or a card is wrong."""

    exit_code = 2


class EnvironmentFault(RoundsError):
    """A disk, a network, a port or a part of the machine is not as needed."""

    exit_code = 3


def did_you_mean(name: str, known: Collection[str]) -> str:
    """What to do about a name that is not among those known: the nearest one, or all of them."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
