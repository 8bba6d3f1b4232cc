"""The pages that stand beside what they describe: `make docs` writes what sources, views and use cases declare."""

from collections.abc import Callable
from functools import partial

from integrations.settings import CHECKOUT

Page = Callable[[], str]


def pages() -> dict[str, Page]:
    """Return how each page is made, by its path in the checkout; every source and use case that exists has one."""
    from features.views_page import views_page
    from integrations.contract import known_sources
    from integrations.source_page import source_page
    from integrations.tables_page import tables_page
    from models.catalog import use_case_names

    return {
        "integrations/README.md": tables_page,
        **{f"integrations/sources/{name}/README.md": partial(source_page, name) for name in known_sources()},
        "features/views/README.md": views_page,
        **{f"models/{name}/README.md": partial(_use_case_page, name) for name in use_case_names()},
    }


def _use_case_page(name: str) -> str:
    from models.catalog import use_case
    from models.use_case_page import use_case_page

    return use_case_page(use_case(name))


def write_pages() -> list[str]:
    """Write every page that is not as it would be made now, and return their paths."""
    written = []
    for path, make in pages().items():
        text, file = make(), CHECKOUT / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    from flows.screen import say

    for changed in write_pages():
        say(changed)
