"""Finding what ``package.module:app`` names and telling what it is; runs in the app's own process."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

Kind = Literal["app", "factory"]


class TargetProblem(Exception):
    """What was named cannot be used.

    Attributes:
        reason: what is so.
        remedy: what to do; empty when nobody knows.
        raised: whether the user's own code raised, so that its traceback is worth reading.
    """

    def __init__(self, reason: str, *, remedy: str = "", raised: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.raised = reason, remedy, raised


def load(target: str) -> object:
    """Import and return what *target*, written ``package.module:name``, names.

    Raises:
        TargetProblem: it is not written so, the module cannot be imported or has no such name.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise TargetProblem(f"{target!r} is not written as a module and a name in it", remedy='"package.module:app"')
    found: object = _import_module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = f"module {module_name!r}" if isinstance(found, ModuleType) else f"{found!r} in {module_name!r}"
            remedy = _did_you_mean([each for each in dir(found) if not each.startswith("__")], name)
            raise TargetProblem(f"{where} has no {name!r}", remedy=remedy) from None
    return found


def kind_of(candidate: object, *, factory: bool | None) -> Kind:
    """Tell whether *candidate* is an ASGI app or makes one; *factory*, unless ``None``, decides.

    Raises:
        TargetProblem: it is neither.
    """
    if not callable(candidate):
        raise TargetProblem(f"{candidate!r} is not callable, so it is neither an ASGI app nor a factory of one")
    if factory is not None:
        return "factory" if factory else "app"
    try:
        signature = inspect.signature(candidate)
    except (TypeError, ValueError):  # some callables of C have none; ASGI apps written in C exist, factories do not
        return "app"
    required, accepted = _count_positional(signature)
    if required == 0 and accepted != float("inf"):
        return "factory"
    if required <= 3 <= accepted:
        return "app"
    if required == 2:
        raise TargetProblem(
            f"{candidate!r} takes two arguments, so it looks like a WSGI app; the app server speaks ASGI",
            remedy="wrap it: `from asgiref.wsgi import WsgiToAsgi; app = WsgiToAsgi(wsgi_app)`, and name that `app`",
        )
    raise TargetProblem(
        f"{candidate!r} has the signature {signature}; an ASGI app takes (scope, receive, send), a factory nothing",
        remedy="name the app itself, or a function without required arguments that returns it",
    )


def required_arguments(candidate: object) -> int:
    """Return how many positional arguments *candidate* must be given; 0 when it does not say."""
    try:
        return _count_positional(inspect.signature(candidate))[0]  # type: ignore[arg-type]  # checked by the except
    except (TypeError, ValueError):
        return 0


def _count_positional(signature: inspect.Signature) -> tuple[int, float]:
    required, accepted = 0, 0.0
    for each in signature.parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            accepted = float("inf")
        elif each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD):
            accepted += 1
            required += each.default is each.empty
    return required, accepted


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise TargetProblem(f"there is no module {missing!r}", remedy=_find_module(missing)) from None
        raise _import_failed(name, error) from error
    except SystemExit as error:
        raise TargetProblem(f"importing {name!r} ended the process: SystemExit({error.code!r})", raised=True) from error
    except Exception as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: Exception) -> TargetProblem:
    said = "".join(traceback.format_exception_only(error)).strip()
    return TargetProblem(f"importing {name!r} failed: {said}", raised=True)


def _find_module(missing: str) -> str:
    """Return where a module like *missing* is, if it can be seen from here."""
    import pkgutil

    parent, _, last = missing.rpartition(".")
    top = missing.partition(".")[0]
    for folder in ("src", "app", "backend"):
        if any(Path(folder, top + suffix).exists() for suffix in ("", ".py")):
            return (
                f"{top!r} is in the folder {folder!r}: install the project, or give the app env PYTHONPATH={folder!r}"
            )
    folders = list(sys.modules[parent].__path__) if parent in sys.modules else [str(Path.cwd())]
    near = _did_you_mean([each.name for each in pkgutil.iter_modules(folders)], last)
    return near or "install the project, or start from the folder its packages are in"


def _did_you_mean(names: Sequence[str], wanted: str) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(each) for each in near)}?"
    public = sorted(each for each in names if not each.startswith("_"))[:8]
    return f"it has {', '.join(public)}" if public else ""
