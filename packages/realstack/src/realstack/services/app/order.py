"""What the kit orders from the launcher; light, since both sides import it."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to serve and where."""

    target: str
    #: Path of the Unix socket the kit listens on.
    control: str
    #: 0 takes any free port.
    port: int
    factory: bool | None
    on_reset: str | None

    @classmethod
    def read(cls, text: str) -> "Order":
        """Read what ``write`` wrote."""
        return cls(**json.loads(text))

    def write(self) -> str:
        """Return it as one argument of a command line."""
        return json.dumps(dataclasses.asdict(self))
