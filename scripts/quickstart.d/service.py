# SPDX-License-Identifier: Apache-2.0
"""service.py PORT DOCUMENTS: the quickstart's application. GET /healthz says whether database and documents are there
and belong together: {"status": "ok", "rows": …, "files": …}, or status "failing" with 503. The database is the one the
PG* environment variables name."""

import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, folder = int(sys.argv[1]), sys.argv[2]


def query(sql: str) -> list[list[str]]:
    outcome = subprocess.run(["psql", "-X", "-A", "-t", "-w", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql],
                             capture_output=True, text=True, timeout=20)
    if outcome.returncode != 0:
        raise RuntimeError((outcome.stderr.strip().splitlines() or ["psql failed"])[-1])
    return [line.split("\t") for line in outcome.stdout.splitlines()]


def health() -> dict[str, object]:
    rows = int(query("select count(*) from chunks")[0][0])
    documents = int(query("select count(*) from documents")[0][0])
    files = sum(len(names) for _, _, names in os.walk(folder))
    if rows == 0 or documents != files:
        raise RuntimeError(f"{documents} documents in the database, {files} files in the folder, {rows} chunks")
    # A sample must be the very bytes the database knows.
    for path, digest in query("select path, sha256 from documents order by random() limit 25"):
        with open(os.path.join(folder, path), "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != digest:
                raise RuntimeError(f"{path} is not what the database says")
    return {"status": "ok", "rows": rows, "files": files}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, answer = 404, {"status": "unknown path"}
        if self.path == "/healthz":
            try:
                code, answer = 200, health()
            except Exception as error:  # whatever it is, the service is not well
                code, answer = 503, {"status": "failing", "error": str(error)}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
