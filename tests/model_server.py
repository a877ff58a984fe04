"""A model server that runs no model: it keeps a list of adapters and says the same to everybody."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    """Does what vLLM does to the list; `says` is its answer, `before` is called with each path."""

    def __init__(self):
        self.adapters, self.says, self.before, self.url = {}, "Hello.", lambda path: None, ""

    def respond(self, path, body):
        """Return (status, JSON) as vLLM 0.32 answers."""
        self.before(path)
        if path == "/v1/models":
            loaded = [{"id": n, "parent": "base", "root": r} for n, r in self.adapters.items()]
            return 200, {"data": [{"id": "base", "parent": None, "root": "/model"}, *loaded]}
        if path == "/v1/load_lora_adapter":
            if body["lora_name"] in self.adapters:
                return 400, {"error": {"message": f"{body['lora_name']} is loaded already"}}
            self.adapters[body["lora_name"]] = body["lora_path"]
        if path == "/v1/unload_lora_adapter":
            del self.adapters[body["lora_name"]]
        message = {"message": {"content": self.says}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return 200, {"choices": [message], "usage": usage}


@contextmanager
def running_model_server():
    """Yield one that listens on a port of its own."""
    model = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(None)

        def do_POST(self):
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, body):
            status, content = model.respond(self.path, body)
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
