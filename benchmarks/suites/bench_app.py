"""An app of the size of a tutorial's: it remembers when its own import was over."""

import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root() -> dict[str, float]:
    return {"imported": IMPORTED}


IMPORTED = time.monotonic()
