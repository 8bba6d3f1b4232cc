"""A disk that loses what was not synced: bytes of files, and names in folders."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from integrations.hl7v2.inbox import Disk


@dataclass
class Content:
    """The bytes of one file, and how many of them outlive a loss of power."""

    data: bytes = b""
    lasting: int = 0


class VolatileDisk(Disk):
    """Writes as any disk, and remembers what would last. `lose_power` leaves just that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, Content] = {}
        self.names: dict[Path, dict[str, Content | None]] = {root: {}}  # what is in each folder; null: a folder
        self.lasting: dict[Path, dict[str, Content | None]] = {root: {}}

    def make_folder(self, path: Path) -> None:
        if path not in self.names:
            if not path.exists():
                self.make_folder(path.parent)
                path.mkdir()
            self.names[path], self.lasting[path] = {}, {}
            self.names.setdefault(path.parent, {})[path.name] = None
            self.sync_folder(path.parent)

    def create(self, path: Path) -> int:
        file = super().create(path)
        self.files[file] = self.names[path.parent][path.name] = Content()
        return file

    def append(self, file: int, data: bytes) -> None:
        super().append(file, data)
        self.files[file].data += data

    def cut(self, file: int, size: int) -> None:
        super().cut(file, size)
        if file in self.files:
            content = self.files[file]
            content.data, content.lasting = content.data[:size], min(content.lasting, size)

    def sync(self, file: int) -> None:
        super().sync(file)
        if file in self.files:
            self.files[file].lasting = len(self.files[file].data)

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self.lasting[path] = dict(self.names.get(path, {}))

    def rename(self, path: Path, target: Path) -> None:
        super().rename(path, target)
        self.names[target.parent][target.name] = self.names[path.parent].pop(path.name)

    def close(self, file: int) -> None:
        super().close(file)
        self.files.pop(file, None)

    def lose_power(self) -> None:
        """Leave what was synced, as it was synced."""
        for child in self.root.iterdir():
            shutil.rmtree(child)
        self._restore(self.root)

    def _restore(self, folder: Path) -> None:
        for name, content in self.lasting[folder].items():
            if content is None:
                (folder / name).mkdir()
                self._restore(folder / name)
            else:
                (folder / name).write_bytes(content.data[: content.lasting])
