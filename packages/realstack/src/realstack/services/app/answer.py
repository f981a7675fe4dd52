"""One real HTTP request, to see that an app answers; plain sockets, since an HTTP client costs 60 ms to import."""

import socket

from realstack._core.waiting import NotReady

#: Answers of an app, or of what stands before it, that is not there yet.
_NOT_YET = frozenset({502, 503, 504})
#: Enough for a status line.
_ENOUGH = 4096


def await_answer(port: int, path: str, *, timeout_s: float) -> int:
    """Return the status that ``GET`` *path* gives within *timeout_s* seconds.

    Raises:
        NotReady: nobody answered, or the answer means "not yet" (502, 503, 504).
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: realstack\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(request.encode())
            answer = b""
            while b"\r\n" not in answer and len(answer) < _ENOUGH:
                more = connection.recv(_ENOUGH)
                if not more:
                    raise NotReady(f"GET {path} was answered with nothing")
                answer += more
            # read to the end, so that the app does not see its client break off
            while connection.recv(65536):
                pass
    except OSError as error:
        raise NotReady(f"GET {path} failed: {error}") from error
    status = _status_of(answer)
    if path != "/" and status in _NOT_YET:
        raise NotReady(f"GET {path} still answers {status}")
    return status


def _status_of(answer: bytes) -> int:
    words = answer.partition(b"\r\n")[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise NotReady(f"the answer is not HTTP: {answer[:80]!r}")
    return int(words[1])
