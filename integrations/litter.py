"""What an operating system leaves in folders and zips by itself: no part of an extract, left aside and counted."""

import re

# .DS_Store, ._name and __MACOSX of macOS; Thumbs.db and desktop.ini of Windows; .directory of a desktop of Linux
_NAMES = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|ehthumbs\.db|desktop\.ini|\.directory", re.IGNORECASE)
_FOLDERS = ("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", "$RECYCLE.BIN")


def is_litter(name: str) -> bool:
    """Whether a file, by its name with the folders above it, was left by an operating system."""
    *folders, last = name.split("/")
    return _NAMES.fullmatch(last) is not None or any(folder in _FOLDERS for folder in folders)
