"""`rounds`: one command for engineers, analysts and governance staff.

Exit codes: 0 done; 1 refused, or found not in order; 2 wrong usage; 3 the environment is not as needed.
"""

import os
import sys
import traceback
from pathlib import Path

import typer
import typer.exceptions

from flows.commands import care, data, governance, model, rounding, watch
from flows.screen import print_error
from integrations.errors import EnvironmentFault, RoundsError, WrongUsage

app = typer.Typer(
    name="rounds",
    help="The nightly round of a hospital's AI: extracts in, features, scores, write-back, drift, retraining.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (data, model, governance, rounding, watch, care):
    module.add_to(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. What a library says of a patient never reaches the screen."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the processor to others
    try:
        result = app(args=arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except RoundsError as error:
        print_error(error)
        return error.exit_code
    except typer.exceptions.TyperException as error:
        print_error(WrongUsage(str(error), to_do="rounds --help, or rounds COMMAND --help"))
        return WrongUsage.exit_code
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print_error(RoundsError("stopped by hand", to_do="run the command again; what was committed stays"))
        return 1
    except OSError as error:
        print_error(EnvironmentFault(error.strerror or type(error).__name__, where=str(error.filename or "")))
        return EnvironmentFault.exit_code
    except Exception as error:
        print_error(_unexpected(error))
        return 1
    finally:
        if opened := sys.modules.get("flows.house"):
            opened.close_snapshot()


def _unexpected(error: Exception) -> RoundsError:
    """Name the kind and place of a fault of ours, not its message: a library may have put a patient into it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    shown = ours[-1] if ours else place
    return RoundsError(
        f"unexpected {type(error).__name__}; its message may name a patient, so it is not shown",
        where=f"{Path(shown.filename).name}, line {shown.lineno}, in {shown.name}",
        to_do="this is a fault of Rounds: report the kind and the place",
    )


if __name__ == "__main__":
    sys.exit(main())
