"""`rounds`: one command for engineers, analysts and governance staff.

Exit codes: 0 done; 1 refused, or found not in order; 2 wrong usage; 3 the environment is not as needed.
"""

import os
import sys

import typer
import typer.exceptions

from flows.commands import (
    care,
    data,
    features,
    findings,
    governance,
    listening,
    model,
    rounding,
    source,
    use_case,
    watch,
)
from flows.faults import without_message
from flows.screen import print_error
from integrations.errors import EnvironmentFault, RoundsError, WrongUsage

app = typer.Typer(
    name="rounds",
    help="The nightly round of a hospital's AI: extracts in, features, scores, write-back, drift, retraining.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (source, use_case, listening, data, features, findings, model, governance, rounding, watch, care):
    module.add_to(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. What a library says of a patient never reaches the screen."""
    os.umask(0o077)  # what a command writes is for its owner only, whichever library writes it
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
        print_error(without_message(error))
        return 1
    finally:
        if opened := sys.modules.get("flows.house"):
            opened.close_snapshot()


if __name__ == "__main__":
    sys.exit(main())
