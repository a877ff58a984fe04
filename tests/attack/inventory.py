"""Lists what the app really has, as JSON: run in a process of its own, for Gradio leaves loops."""

import json
import sys
from pathlib import Path

from starlette.routing import Mount

from bot.app import create_app
from bot.web.calls import function_name
from bot.web.handlers import permission_of
from core.settings import Settings


def routes_of(app, prefix=""):
    """Yield (methods, path) of every route, those of mounted apps included."""
    for route in app.routes:
        path = f"{prefix}{route.path}"
        if hasattr(route, "methods"):
            yield [" ".join(sorted(route.methods or ())), path]
        elif hasattr(route.app, "routes"):
            yield from routes_of(route.app, path)
        else:
            yield ["", path]


def main(home, dsn):
    """Print routes, functions with their inputs, and whether Gradio's own check is armed."""
    app = create_app(Settings(home=Path(home), database_url=dsn, _env_file=None))
    mounts = [route for route in app.routes if isinstance(route, Mount)]
    pages = {route.path: route.app.get_blocks() for route in mounts}
    found = {
        "routes": list(routes_of(app)),
        "armed": [blocks.has_launched for blocks in pages.values()],
        "functions": {
            page: {
                function_name(function.fn): {
                    "number": number,
                    "permission": permission_of(function.fn),
                    "inputs": [type(each).__name__ for each in function.inputs],
                    "events": sorted({event for _, event in function.targets}),
                }
                for number, function in blocks.fns.items()
                if function.fn is not None
            }
            for page, blocks in pages.items()
        },
        "scripts": {
            page: [number for number, function in blocks.fns.items() if function.fn is None]
            for page, blocks in pages.items()
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
