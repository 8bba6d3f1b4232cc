"""When two spellings are one person's name."""

import unicodedata


def folded(name: str) -> str:
    """The letters and digits of a name, whatever their case and form: `Ada  Osei` and `ada.osei` are `adaosei`."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(sign for sign in plain if sign.isalnum())
