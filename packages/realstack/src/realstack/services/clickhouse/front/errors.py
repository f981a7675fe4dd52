"""ClickHouse's error codes, and the HTTP status each is answered with."""

import re

_CODE = re.compile(r"Code: (\d+)\. ")

#: Source: exceptionCodeToHTTPStatus in ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; all others are 500.
_STATUS = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 291, 497, 516), 403),
    **dict.fromkeys((6, 15, 26, 27, 36, 38, 41, 44, 47, 53, 62, 69, 72, 74, 117, 130, 167, 168, 190, 353, 354, 377, 427), 400),
    **dict.fromkeys((456, 457, 675, 676, 677), 400),
    **dict.fromkeys((16, 20, 33, 81, 46, 50, 56, 60, 63, 64, 73, 78, 80, 115, 336), 404),
    **dict.fromkeys((223,), 413),
    **dict.fromkeys((1, 48), 501),
    **dict.fromkeys((76, 209, 202, 373), 503),
    **dict.fromkeys((381,), 411),
    **dict.fromkeys((159, 160), 408),
}


class Failure(Exception):
    """An error a client is told about, with the code ClickHouse gives it."""

    def __init__(self, code: int, message: str, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = f"Code: {code}. DB::Exception: {message}" + (f" ({name})" if name else "")

    @classmethod
    def of_engine(cls, error: Exception) -> "Failure":
        """Return what the engine raised, its own words and code untouched."""
        text = str(error).strip()
        found = _CODE.search(text)
        failure = cls(int(found[1]) if found else 1002, text)
        failure.message = text[found.start() :] if found else f"Code: 1002. DB::Exception: {text} (UNKNOWN_EXCEPTION)"
        return failure

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers this code with."""
        return _STATUS.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """Return the text a client gets, with the engine's version behind it as servers do."""
        return f"{self.message} (version {version} (embedded ClickHouse))\n".encode("utf-8", "surrogateescape")
