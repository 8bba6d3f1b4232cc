"""`repeat`: items within items, to whatever depth."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.fhir.sql_on_fhir import InvalidView, run_view

ANSWERED = {
    "resourceType": "QuestionnaireResponse",
    "id": "r1",
    "item": [
        {
            "linkId": "1",
            "item": [{"linkId": "1.1", "answer": [{"valueString": "yes", "item": [{"linkId": "1.1.1"}]}]}],
        },
        {"linkId": "2"},
    ],
}
UNANSWERED = {"resourceType": "QuestionnaireResponse", "id": "r2"}
LINK = {"column": [{"name": "link", "path": "linkId"}]}


def rows(*selects: dict[str, Any], resource: str = "QuestionnaireResponse", of: Any = None) -> list[dict[str, Any]]:
    return run_view({"resource": resource, "select": list(selects)}, of or [ANSWERED, UNANSWERED])


def links(*paths: str) -> list[str]:
    return [row["link"] for row in rows({"repeat": list(paths), **LINK})]


def test_each_item_is_followed_by_what_is_within_it() -> None:
    assert links("item", "answer.item") == ["1", "1.1", "1.1.1", "2"]


def test_only_the_paths_that_are_named_are_followed() -> None:
    assert links("item") == ["1", "1.1", "2"]


def test_a_resource_with_nothing_to_repeat_gives_no_row() -> None:
    found = rows({"column": [{"name": "id", "path": "id"}]}, {"repeat": ["item"], **LINK})
    assert {row["id"] for row in found} == {"r1"}


def test_the_row_index_counts_through_all_depths() -> None:
    select = {"repeat": ["item", "answer.item"], "column": [{"name": "place", "path": "%rowIndex"}]}
    assert [row["place"] for row in rows(select)] == [0, 1, 2, 3]


def test_a_loop_goes_on_within_each_item() -> None:
    answers = {"forEachOrNull": "answer", "column": [{"name": "said", "path": "value.ofType(string)"}]}
    found = rows({"repeat": ["item"], **LINK, "select": [answers]})
    assert found == [{"link": "1", "said": None}, {"link": "1.1", "said": "yes"}, {"link": "2", "said": None}]


def test_branches_of_a_union_repeat_each_for_itself() -> None:
    union = {"unionAll": [{"repeat": ["item"], **LINK}, {"forEach": "item", **LINK}]}
    assert [row["link"] for row in rows(union)] == ["1", "1.1", "2", "1", "2"]


def test_what_is_repeated_is_also_read_as_it_stands() -> None:
    first = {"column": [{"name": "first", "path": "item.first().linkId"}, {"name": "count", "path": "item.count()"}]}
    assert rows({**first, "select": [{"repeat": ["item"], **LINK}]})[1] == {"first": "1", "count": 2, "link": "1.1"}
    inner = {
        "column": [{"name": "has", "path": "item.linkId.first()"}],
        "select": [{"repeat": ["item"], "column": [{"name": "in", "path": "linkId"}]}],
    }
    assert rows({"forEach": "item", **LINK, "select": [inner]}) == [{"link": "1", "has": "1.1", "in": "1.1"}]


def test_a_repeat_stands_within_a_loop_or_another_repeat() -> None:
    code = {"repeat": ["contains"], "column": [{"name": "code", "path": "code"}]}
    inner = {"code": "b", "contains": [{"code": "c"}]}
    value_set = {"resourceType": "ValueSet", "expansion": {"contains": [{"code": "a", "contains": [inner]}]}}
    found = rows({"forEach": "expansion", "select": [code]}, resource="ValueSet", of=[value_set])
    assert [row["code"] for row in found] == ["a", "b", "c"]
    outer = {
        "forEach": "expansion",
        "select": [{**code, "select": [{**code, "column": [{"name": "in", "path": "code"}]}]}],
    }
    found = rows(outer, resource="ValueSet", of=[value_set])
    assert [(row["code"], row["in"]) for row in found] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_a_hundred_items_within_each_other_are_all_found() -> None:
    item: dict[str, Any] = {"linkId": "99"}
    for number in reversed(range(99)):
        item = {"linkId": str(number), "item": [item]}
    deep = {"resourceType": "QuestionnaireResponse", "id": "deep", "item": [item]}
    assert [row["link"] for row in rows({"repeat": ["item"], **LINK}, of=[deep])] == [str(n) for n in range(100)]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["item.where(linkId != '1')"], ["2"]),  # what is within an item that was not chosen is not reached
        (["item.where(linkId != '2')"], ["1", "1.1"]),
        (["item.where(linkId != '2')", "answer.item"], ["1", "1.1", "1.1.1"]),
        (["item.first()"], ["1", "1.1"]),
        (["item.last()", "answer.item"], ["2"]),
        (["item[0]", "answer.item.where(linkId = 'none')"], ["1", "1.1"]),
        (["item[1]"], ["2"]),
        (["item.where(answer.value.ofType(string) = 'yes' or item.exists())"], ["1", "1.1"]),
        (["item.where(linkId = %known)"], ["1"]),
        (["item.where(%resource.id = 'r1')"], ["1", "1.1", "2"]),
        (["item.where(%resource.id = 'r2')"], []),
    ],
)
def test_a_path_may_choose_among_the_items(paths: list[str], found: list[str]) -> None:
    view = {
        "resource": "QuestionnaireResponse",
        "constant": [{"name": "known", "valueString": "1"}],
        "select": [{"repeat": paths, **LINK}],
    }
    assert [row["link"] for row in run_view(view, [ANSWERED, UNANSWERED])] == found


def test_extensions_within_extensions_are_chosen_by_their_url() -> None:
    inner = [{"url": "a", "valueString": "inner"}, {"url": "b", "extension": [{"url": "a", "valueString": "hidden"}]}]
    patient = {"resourceType": "Patient", "id": "p", "extension": [{"url": "a", "extension": inner}, {"url": "b"}]}
    said = {"repeat": ["extension('a')"], "column": [{"name": "said", "path": "value.ofType(string)"}]}
    assert rows(said, resource="Patient", of=[patient]) == [{"said": None}, {"said": "inner"}]


def test_a_choosing_repeat_stands_within_a_loop() -> None:
    code = {"repeat": ["contains.where(code != 'x')"], "column": [{"name": "code", "path": "code"}]}
    inner = [{"code": "x", "contains": [{"code": "lost"}]}, {"code": "b", "contains": [{"code": "c"}]}]
    value_set = {"resourceType": "ValueSet", "expansion": {"contains": [{"code": "a", "contains": inner}]}}
    found = rows({"forEach": "expansion", "select": [code]}, resource="ValueSet", of=[value_set])
    assert [row["code"] for row in found] == ["a", "b", "c"]


TREES = st.recursive(
    st.just([]), lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=3), max_leaves=12
)


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from("abc"))
def test_items_of_any_tree_are_found_as_a_reader_would(tree: Any, hidden: str) -> None:
    def as_items(branches: Any) -> list[dict[str, Any]]:
        return [{"linkId": name, **({"item": as_items(inner)} if inner else {})} for name, inner in branches]

    def read(branches: Any) -> list[str]:
        kept = [branch for branch in branches if branch[0] != hidden]
        return [link for name, inner in kept for link in (name, *read(inner))]

    resource = {"resourceType": "QuestionnaireResponse", "id": "r", **({"item": as_items(tree)} if tree else {})}
    select = {"repeat": [f"item.where(linkId != '{hidden}')"], **LINK}
    assert [row["link"] for row in rows(select, of=[resource])] == read(tree)


@pytest.mark.parametrize(
    ("select", "path"),
    [
        ({"repeat": [], **LINK}, "select[0].repeat"),
        ({"repeat": "item", **LINK}, "select[0].repeat"),
        ({"repeat": [7], **LINK}, "select[0].repeat[0]"),
        ({"repeat": ["item."], **LINK}, "select[0].repeat[0]"),
        ({"repeat": ["%resource.item"], **LINK}, "select[0].repeat[0]"),
        ({"repeat": ["item.exists()"], **LINK}, "select[0].repeat[0]"),
        ({"repeat": ["item", "item.where(linkid = '1')"], **LINK}, "select[0].repeat[1]"),
        ({"repeat": ["itme"], **LINK}, "select[0].repeat"),
        ({"repeat": ["item", "answer"], **LINK}, "select[0].repeat[1]"),
        ({"repeat": ["item"], "forEach": "item", **LINK}, "select[0]"),
        ({"repeat": ["item"], "column": [{"name": "a", "path": "linkid"}]}, "select[0].column[0].path"),
    ],
)
def test_a_mistake_is_refused_with_its_place(select: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidView) as refused:
        rows(select)
    assert refused.value.path == path
