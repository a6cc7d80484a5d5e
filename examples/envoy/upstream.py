#!/usr/bin/env python3
"""The smallest upstream: answers every request with what it was asked, in one line of text.

The status is 200, or the one that the request asks for: `x-answer: 404`.
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Envoy keeps its connections
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = f"upstream: {self.command} {self.path}\n".encode()
        asked = self.headers.get("x-answer", "200")
        self.send_response(int(asked) if re.fullmatch("[2-5][0-9]{2}", asked) else 400)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass  # Envoy's access log says it all


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of 5, its usual number, a burst of connections overflows; Envoy would answer 503


if __name__ == "__main__":
    try:
        Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
    except KeyboardInterrupt:
        pass
