"""A folder that a process lends itself goes with the process, and never while it works."""

import subprocess
import sys
from pathlib import Path

from integrations.only_one import own_folder

LEAVES_ONE = """
import os, sys
from pathlib import Path
from integrations.only_one import own_folder
folder, _ = own_folder(Path(sys.argv[1]), "moved")
(folder / "rows.parquet").write_text("x")
print(folder.name, flush=True)
sys.stdin.readline()
os._exit(9)
"""


def test_what_a_process_that_died_left_goes_and_what_one_works_with_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAVES_ONE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        theirs = tmp_path / other.stdout.readline().strip()
        first, give_back = own_folder(tmp_path, "moved")
        second, _ = own_folder(tmp_path, "moved")
        assert all(folder.is_dir() for folder in (theirs, first, second))
        other.communicate("die\n")
    third, _ = own_folder(tmp_path, "moved")
    assert not theirs.exists()
    give_back()
    assert sorted(tmp_path.iterdir()) == sorted((second, third))
