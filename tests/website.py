"""A website on loopback, page by page, for tests that read sites."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = "text/html; charset=utf-8"


class Served:
    """A website on loopback: {path: (status, headers, body)}; remembers what it was asked."""

    def __init__(self):
        self.pages, self.asked, self.hosts = {}, [], []
        self.released = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                site.hosts.append(self.headers["Host"])
                status, headers, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for piece in body if not isinstance(body, bytes) else [body]:
                        self.wfile.write(piece)
                except OSError:
                    pass  # the reader had enough

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def page(self, path, text="", *links, head="", status=200, kind=HTML, **headers):
        """Lay down an article that links on."""
        linked = "".join(f'<a href="{link}">more</a> ' for link in links)
        body = f"<html><head>{head}</head><body><h1>{path}</h1><p>{text}</p>{linked}</body></html>"
        self.pages[path] = (status, {"Content-Type": kind, **headers}, body.encode())

    def raw(self, path, body, kind="text/plain", status=200, **headers):
        """Lay down anything else."""
        body = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, {"Content-Type": kind, **headers}, body)

    def sitemap(self, path, *paths, kind="urlset", entry="url"):
        """Lay down a sitemap of these pages, or an index of these sitemaps."""
        places = "".join(f"<{entry}><loc>{self.url}{p}</loc></{entry}>" for p in paths)
        self.raw(path, f'<{kind} xmlns="http://www.sitemaps.org/x">{places}</{kind}>')

    def close(self):
        """Stop serving, even what drips."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
