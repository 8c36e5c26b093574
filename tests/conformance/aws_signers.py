"""Runs the examples that sign for Amazon, with Amazon's own packages, and says over HTTP what came of it.

python aws_signers.py PORT EXAMPLES
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Signing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        import msk_iam  # of the examples

        self._tell(list(msk_iam.token()) if self.path == "/token" else ["ready"])

    def do_POST(self) -> None:
        import bedrock_sigv4

        body = self.rfile.read(int(self.headers["content-length"]))
        url = f"https://bedrock-runtime.eu-west-1.amazonaws.com{self.path}"
        self._tell(bedrock_sigv4.sign("POST", url, {"content-type": "application/json"}, body))

    def _tell(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])
    HTTPServer(("127.0.0.1", int(sys.argv[1])), _Signing).serve_forever()
