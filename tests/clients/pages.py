"""An origin of the tests' own: an HTTP server that remembers what it was asked."""

import http.server
import threading


class Pages(http.server.BaseHTTPRequestHandler):
    """Every path below /site is its own name; /site/broken fails, everything else is not there."""

    asked = []

    @classmethod
    def serve(cls):
        """A server of them on a free port, which `shutdown` ends."""

        pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        return pages

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("x-team")))
        status = 500 if self.path == "/site/broken" else 200 if self.path.startswith("/site/") else 404
        body = self.path.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("x-cos-meta-from", "origin")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
