"""What a client answers when PostgreSQL asks who it is: cleartext, MD5 and SCRAM-SHA-256.

Source: PostgreSQL manual, "Message Flow" and "SASL Authentication"; RFC 5802, RFC 7677.
"""

import base64
import hashlib
import hmac
import os


def md5_response(user: str, password: str, salt: bytes) -> str:
    """Return the answer to an MD5 request."""
    # MD5 is what old servers ask for; it is not our choice
    inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()


class Scram:
    """One SCRAM-SHA-256 exchange without channel binding."""

    MECHANISM = "SCRAM-SHA-256"

    def __init__(self, password: str, *, nonce: str | None = None) -> None:
        self._password = password.encode()
        self._nonce = nonce or base64.b64encode(os.urandom(18)).decode()
        self._first_bare = f"n=,r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the client's first message."""
        return f"n,,{self._first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """Return the client's proof for the server's first message.

        Raises:
            ValueError: the server's nonce does not continue ours: somebody else answers.
        """
        text = server_first.decode()
        fields = dict(part.split("=", 1) for part in text.split(","))
        if not fields["r"].startswith(self._nonce):
            raise ValueError("the server's SCRAM nonce does not continue ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(fields["s"]), int(fields["i"]))
        without_proof = f"c=biws,r={fields['r']}"
        message = ",".join((self._first_bare, text, without_proof)).encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final: bytes) -> None:
        """Make sure that the server knows the password too.

        Raises:
            ValueError: it does not.
        """
        signature = base64.b64decode(server_final.decode().split(",")[0].removeprefix("v="))
        if not hmac.compare_digest(signature, self._server_signature):
            raise ValueError("the server could not prove that it knows the password")
