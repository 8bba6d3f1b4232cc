"""The one error of a view."""

from integrations.errors import WrongUsage


class InvalidView(WrongUsage):
    """A ViewDefinition cannot be run as it stands. `path`: where the mistake lies, `select[0].column[1].path`."""

    def __init__(self, what: str, *, path: str, to_do: str = "") -> None:
        self.path = path
        super().__init__(what, where=path, to_do=to_do)
