"""The page of one use case, for the clinician who asks what it says and the governance staff who answer for it."""

from collections.abc import Iterator

from features.definitions import view
from features.view_words import Feature
from integrations.markdown import bullets, code, facts, link, page, plain, span, table
from models.card import Card, load_card
from models.cases import Cases, load_cases
from models.story_page import story_links, story_sections, told_in
from models.use_case import UseCase

FILES = ("use_case.py", "card.yaml", "cohort.sql", "label.sql", "estimator.py", "cases.yaml")
VIEWS = "../../features/views/README.md"


def use_case_page(use_case: UseCase) -> str:
    """Return the page of one use case. Raises WrongUsage where its card and its declaration differ."""
    card, path = load_card(use_case), use_case.folder / "cases.yaml"
    cases = load_cases(path)
    units = {name: feature.unit for name, feature in _features(use_case).items()}
    return page(
        plain(card.title),
        ", ".join(link(name, name) for name in FILES),
        f"**{plain(use_case.question)}**",
        facts(_at_a_glance(use_case)),
        *_purpose(card),
        *_definition(card, cases),
        *_what_it_sees(use_case),
        *_what_it_says(use_case, card),
        *_governance(use_case, card),
        *story_sections(path, cases, units),
    )


def _features(use_case: UseCase) -> dict[str, Feature]:
    """Return every feature of the views that the use case draws on: its stories may tell of those it does not take."""
    views = dict.fromkeys(reference.split(":")[0] for reference in use_case.features)
    return {feature.name: feature for name in views for feature in view(name).features}


def _at_a_glance(use_case: UseCase) -> Iterator[tuple[str, str]]:
    hours = ", ".join(f"{hour:02d}" for hour in use_case.schedule_hours)
    yield "Name", code(use_case.name)
    yield "Owner", plain(use_case.owner)
    yield "Horizon", span(use_case.horizon)
    yield "Round", f"daily at {hours} h hospital time"
    yield (
        "Live",
        f"while the prediction time is not older than {span(use_case.max_age)}; later it is a backfill, never sent",
    )
    yield "Features", f"{len(use_case.features)}, of which {len(use_case.required)} required"
    yield "Threshold", f"{_percent(use_case.write_back.threshold)}: at or above it someone acts"


def _purpose(card: Card) -> Iterator[str]:
    yield "## What it is for"
    yield plain(card.intended_use)
    yield f"**For:** {plain(card.users)}"
    yield "**Not for:**"
    yield bullets(plain(each) for each in card.not_intended_for)


def _definition(card: Card, cases: Cases) -> Iterator[str]:
    """Say who is asked about and what counts as the outcome; each reason leads to the stories that tell of it."""
    states, labels = told_in(cases)
    yield "## Who is predicted for, and when"
    yield f"{plain(card.definition.population)} As SQL: {link('cohort.sql', 'cohort.sql')}."
    yield table(
        ("Excluded, and counted as", "Told in story"),
        [(code(state), story_links(numbers)) for state, numbers in states.items() if state != "eligible"],
    )
    yield "## What counts as the outcome"
    yield f"{plain(card.definition.outcome)} As SQL: {link('label.sql', 'label.sql')}."
    yield f"**No label:** {plain(card.definition.no_label)}"
    yield table(
        ("Label", "Why", "Told in story"),
        [(_label(text), code(text.partition(" ")[2]), story_links(numbers)) for text, numbers in labels.items()],
    )
    yield "**By publication:**"
    yield bullets(f"{plain(each.text)}. {each.url}" for each in card.definition.cited)
    yield "**Where it differs from them:**"
    yield bullets(plain(each) for each in card.definition.differences)


def _label(text: str) -> str:
    return "none" if text.startswith("-") else text.partition(" ")[0]


def _what_it_sees(use_case: UseCase) -> Iterator[str]:
    """List the features as the model takes them, view by view."""
    known = _features(use_case)
    rows = []
    for reference in use_case.features:
        view_name, _, name = reference.partition(":")
        need = "**required**" if reference in use_case.required else "optional"
        need += ", a descriptor" if reference in use_case.descriptors else ""
        feature = known[name]
        rows.append(
            (code(name), plain(feature.unit), plain(feature.description), need, link(view_name, f"{VIEWS}#{view_name}"))
        )
    yield "## What the model sees"
    yield (
        "Only what was known at the prediction time. A feature whose data lie in quarantine is held: a required one "
        "holds the score, an optional one flags it. A row whose required feature was not measured is excluded"
        + (
            "."
            if use_case.required
            else "; here none is required, and only a row is that has descriptors alone or nothing."
        )
    )
    yield table(("Feature", "Unit", "What it is", "Need", "View"), rows)


def _what_it_says(use_case: UseCase, card: Card) -> Iterator[str]:
    """Say how a score stands in the EHR, from which risk on someone acts, and where the score ends."""
    said = use_case.write_back
    starts = [start for start, _ in said.bands]
    ends = [*(f"below {_percent(end)}" for end in starts[1:]), _percent(1)]
    yield "## What goes back to the EHR"
    outcome = f"*{plain(said.outcome_text)}* ({code(said.outcome_code)} of {code(said.outcome_system)})"
    yield f"A RiskAssessment of {outcome}, in bands:"
    yield table(
        ("Band", "Risk", ""),
        [
            (band, f"{_percent(start)} to {end}", "someone acts" if start >= said.threshold else "")
            for (start, band), end in zip(said.bands, ends, strict=True)
        ],
    )
    yield f"**Why {_percent(said.threshold)}:** {plain(card.threshold.reason)}"
    yield "## Where it ends"
    yield bullets(plain(each) for each in card.limits)


def _governance(use_case: UseCase, card: Card) -> Iterator[str]:
    """Say what a version must show, how it is watched, and what may change."""
    yield "## Gate"
    yield plain(card.gate)
    yield facts(_gate(use_case))
    yield f"Shown apart, from {use_case.gate.min_subgroup_outcomes} outcomes on:"
    yield table(("Subgroups by", "Why"), [(code(each.feature), plain(each.reason)) for each in card.subgroups])
    yield "## Monitoring"
    yield plain(card.monitoring)
    yield facts(_monitoring(use_case))
    yield "## Change plan"
    yield plain(card.change)
    plan = use_case.change_plan
    yield facts(
        (
            ("A retraining may change", plain(", ".join(plan.may_change))),
            ("Needs people", plain(", ".join(plan.needs_people))),
        )
    )


def _gate(use_case: UseCase) -> Iterator[tuple[str, str]]:
    gate = use_case.gate
    yield "Judged from", f"{gate.min_rows} held-out rows and {gate.min_outcomes} outcomes on; fewer are not enough data"
    yield "AUROC", f"lower 95 % bound at least {gate.min_auroc_lower:.2f}"
    yield "Calibration slope", _range(gate.slope_range)
    yield "Observed over expected", _range(gate.observed_expected_range)
    yield "Beside the champion", "not worse: champion less candidate AUROC, paired, lower 95 % bound at most 0"


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} to {limits[1]:g}"


def _monitoring(use_case: UseCase) -> Iterator[tuple[str, str]]:
    watch = use_case.monitoring
    needed, last = watch.breaches_of_last
    yield "Window", f"{watch.window_nights} nights"
    yield "Windows a night", "one: that of its last run"
    yield "Outcomes", f"of rows scored in the last {watch.outcome_nights} nights, and after the training"
    yield "Judged from", f"{watch.min_rows} rows on; fewer are not enough data"
    yield (
        "Over the threshold",
        (
            f"PSI above {watch.psi_threshold:g} and above the 99th percentile of {watch.reference_resamples} "
            "reference windows of the same size"
        ),
    )
    yield "Breach", f"{needed} of the last {last} windows, the newest among them"


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
