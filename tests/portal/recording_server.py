"""Stands for Dagster's webserver: writes down all that reaches it, and does what it is told. Run by test_front.py."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("record")
    options.add_argument("--host")
    options.add_argument("--port", type=int)
    given = options.parse_args()

    def note(text: str) -> None:
        with open(given.record, "a", encoding="utf-8") as file:
            file.write(text + "\n")

    async def answer(request: Request) -> Response:
        body = await request.body()
        target = request.scope["raw_path"].decode() + "?" + request.scope["query_string"].decode()
        note(f"{request.method} {target} {len(body)} {request.headers.get('authorization')}")
        if request.url.path == "/slowly":

            async def parts() -> AsyncIterator[bytes]:
                yield b"first "
                await asyncio.sleep(0.3)
                yield b"second"

            return StreamingResponse(parts(), headers={"x-own": "kept"})
        return PlainTextResponse(f"answered {len(body)}", headers={"x-own": "kept"})

    async def talk(websocket: WebSocket) -> None:
        note("websocket")
        await websocket.accept(subprotocol="graphql-ws")
        while (text := await websocket.receive_text()) != "end":
            await websocket.send_text(f"heard {text}")
        await websocket.close()

    methods = ["GET", "POST", "PUT", "DELETE", "HEAD"]
    app = Starlette(routes=[WebSocketRoute("/graphql", talk), Route("/{path:path}", answer, methods=methods)])
    print(f"Serving on http://{given.host}:{given.port}", flush=True)
    uvicorn.run(app, host=given.host, port=given.port, log_level="warning")
    sys.exit(3)


if __name__ == "__main__":
    main()
