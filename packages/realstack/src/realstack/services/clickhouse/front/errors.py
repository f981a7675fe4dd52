"""ClickHouse's error codes, and the HTTP status each is answered with."""

import re

_CODE = re.compile(r"Code: (\d+)\. ")

#: Source: exceptionCodeToHTTPStatus in ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; all others are 500.
_STATUS = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123), 400),
    **dict.fromkeys((167, 168, 223, 321, 376, 427, 441, 675, 676), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    **dict.fromkeys((229,), 413),
    **dict.fromkeys((48,), 501),
    **dict.fromkeys((76, 209, 439), 503),
    **dict.fromkeys((381,), 411),
    **dict.fromkeys((159,), 408),
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
