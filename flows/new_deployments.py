"""The deployments of a new use case, put into prefect.yaml beside those of the others; the rest stays as it is."""

import re

import yaml

from integrations.errors import NotInOrder

SCORE = """  - name: score_{name}
    entrypoint: flows/score.py:score
    description: Score every patient who is due by {name}, and queue what goes back to the EHR.
    tags: [round, {name}]
    parameters: {{use_case: {name}}}
    work_pool: *pool
    concurrency_limit: *one_at_a_time
    schedules:
      - {{cron: "45 {hours} * * *", timezone: {time_zone}, active: true}}
"""
MONITOR = """  - name: monitor_{name}
    entrypoint: flows/monitor.py:monitor
    description: Judge data, predictions and matured outcomes of the last window, and report drift.
    tags: [watch, {name}]
    parameters: {{use_case: {name}}}
    work_pool: *pool
    concurrency_limit: *one_at_a_time
    schedules:
      - {{cron: "{minute} {hour} * * *", timezone: {time_zone}, active: true}}
"""
FIRST_MONITOR, BETWEEN = 4 * 60, 15  # minutes of the day: the first is at four, the next a quarter later


def with_deployments(text: str, name: str, *, hours: tuple[int, ...], time_zone: str) -> str:
    """Return prefect.yaml with the score and monitor deployments of a use case, each behind the last of its kind.

    Raises NotInOrder when the file holds no such deployment, has one of the name, or cannot be read afterwards.
    """
    before = yaml.safe_load(text)["deployments"]
    if any(each["name"] in (f"score_{name}", f"monitor_{name}") for each in before):
        raise _wrong(f"{name} has a deployment already", "remove it, or choose another name")
    at = FIRST_MONITOR + BETWEEN * sum(each["name"].startswith("monitor_") for each in before)
    score = SCORE.format(name=name, hours=",".join(map(str, hours)), time_zone=time_zone)
    monitor = MONITOR.format(name=name, minute=at % 60, hour=at // 60 % 24, time_zone=time_zone)
    after = _behind_last("monitor_", monitor, _behind_last("score_", score, text))
    added = [each["name"] for each in yaml.safe_load(after)["deployments"]]
    if sorted(added) != sorted([*(each["name"] for each in before), f"score_{name}", f"monitor_{name}"]):
        raise _wrong("a deployment would be lost", "write the deployments of the use case by hand")
    return after


def _behind_last(prefix: str, block: str, text: str) -> str:
    """Put a block behind the last one whose name begins so: behind the lines that are its own, before a blank line."""
    starts = [match.start() for match in re.finditer(rf"^  - name: {prefix}", text, re.MULTILINE)]
    if not starts:
        raise _wrong(f"there is no deployment {prefix}...", "write the deployments of the use case by hand")
    lines = text[starts[-1] :].splitlines(keepends=True)
    own = 1
    while own < len(lines) and lines[own].startswith("    "):
        own += 1
    end = starts[-1] + sum(len(line) for line in lines[:own])
    head = text[:end] if text[:end].endswith("\n") else text[:end] + "\n"
    return f"{head}\n{block}{text[end:]}"


def _wrong(what: str, to_do: str) -> NotInOrder:
    return NotInOrder(what, where="prefect.yaml", to_do=to_do)
