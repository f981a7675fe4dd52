"""What a command's exit code says; the same for every command, so that a script can tell."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realstack.errors import RealstackError

OK = 0
FAILED = 1
USAGE = 2
NOTHING_RAN = 3
UNAVAILABLE = 4
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count; another signal gives 128 and its own number."""

MEANING = f"""exit codes:
  {OK}    done; for run: every test that ran passed
  {FAILED}    failed: a test, a check of doctor, the command itself
  {USAGE}    wrong use: an unknown option, setting or value
  {NOTHING_RAN}    nothing ran: no test was selected, or every one was skipped
  {UNAVAILABLE}    a service that was asked for could not be had
  {INTERRUPTED}  interrupted (128 and the signal's number)"""


def code_of(error: "RealstackError | type[RealstackError]") -> int:
    """Return the exit code that an error, or an error of this class, ends a command with."""
    from realstack.errors import ConfigInvalid, ConfigUnknown, ServerStartFailed, ServerUnreachable, ServiceUnavailable

    kind = error if isinstance(error, type) else type(error)
    if issubclass(kind, ConfigInvalid | ConfigUnknown):
        return USAGE
    return UNAVAILABLE if issubclass(kind, ServiceUnavailable | ServerUnreachable | ServerStartFailed) else FAILED
