"""FastAPI and nothing behind it: what HTTP, the server and the framework take by themselves."""

from typing import Annotated

from fastapi import Body, FastAPI

app = FastAPI()


@app.post("/predict")
async def predict(query: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    return {"target": "local"}
