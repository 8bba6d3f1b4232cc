"""The model card of a use case: what it is for, by which definition, and where it ends. Written by people."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from integrations.declared import load_declared
from integrations.errors import WrongUsage
from models.use_case import UseCase

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Citation(Part):
    """A published definition that the use case follows."""

    text: Text
    url: Text


class Definition(Part):
    """What is predicted, for whom, by which publication, and where we differ from it."""

    population: Text
    outcome: Text
    no_label: Text
    cited: list[Citation]
    differences: list[Text]


class Subgroup(Part):
    """A feature by which the gate shows figures apart, and why."""

    feature: Text
    reason: Text


class Threshold(Part):
    """The working threshold, and why it stands there."""

    value: float
    reason: Text


class Card(Part):
    """One use case, as governance reads it. Gate and monitoring figures are changed only with a reason here."""

    use_case: Text
    title: Text
    intended_use: Text
    users: Text
    not_intended_for: list[Text]
    definition: Definition
    limits: list[Text]
    subgroups: list[Subgroup]
    threshold: Threshold
    gate: Text
    monitoring: Text
    change: Text


def load_card(use_case: UseCase) -> Card:
    """Read card.yaml of a use case. WrongUsage for an unknown key, with its line, or a card that contradicts it."""
    path = use_case.folder / "card.yaml"
    card = load_declared(path, Card)
    said = (card.use_case, card.threshold.value, tuple(each.feature for each in card.subgroups))
    declared = (use_case.name, use_case.write_back.threshold, use_case.subgroups)
    for what, in_card, in_use_case in zip(("use_case", "threshold", "subgroups"), said, declared, strict=True):
        if in_card != in_use_case:
            raise WrongUsage(
                f"{what} is {in_card} in the card and {in_use_case} in use_case.py",
                where=str(path),
                to_do="make them agree",
            )
    return card
