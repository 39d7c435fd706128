"""`serve`, misbehaving as the environment variable FAKE says.

What it does depends on what it was asked before and never on the clock: it is the same on slow machines.
"""

import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE = os.environ.get("FAKE", "")
TOKEN = "secret"
looks = itertools.count(1)  # at its status: the first finds it loading, the second ready
held = set()  # ids of avatars
cancelled = threading.Event()


def safetensors(document, **tensors):
    """Float tensors, as {name: (shape, values)}."""
    header, data = {"__metadata__": {"json": json.dumps(document)}}, b""
    for name, (shape, values) in tensors.items():
        block = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path != "/v1/hello" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.refuse(401, "token", "The token is wrong.")
        if self.path == "/v1/hello":
            return self.answer({"service": "emo-avatar", "protocol": 2 if MODE == "later protocol" else 1})
        if self.path == "/v1/status":
            return self.status()
        if self.path == "/v1/log":
            return self.answer({"lines": ["one", "two"]})
        if self.path == "/v1/jobs/1/events":
            return self.events()
        if self.path == "/v1/jobs/1/file":
            return self.body(bytes(3_000_000), "application/zip")
        if self.path.startswith("/v1/avatars/"):
            avatar = self.path.split("/")[3]
            if avatar not in held:
                return self.refuse(404, "unknown_avatar", "The backend does not hold this avatar.")
            return self.answer({"id": avatar})
        return self.refuse(404, "bad_request", "There is no such route.")

    def do_PUT(self):
        self.received()
        held.add(self.path.split("/")[3])
        self.answer({"id": self.path.split("/")[3]})

    def do_POST(self):
        size = len(self.received())
        if self.path.startswith("/v1/jobs/"):
            return self.answer({"job": "1", "size": size}, 202)
        if MODE == "stateful" and "a" not in held:
            return self.refuse(404, "unknown_avatar", "The backend does not hold this avatar.")
        frames = 2
        self.body(
            safetensors({}, expression=([frames, 100], [0.5] * 200), jaw_pose=([frames, 3], [0.0] * 6)),
            "application/vnd.safetensors",
        )

    def do_DELETE(self):
        cancelled.set()
        self.answer({}, 202)

    def status(self):
        look = next(looks)
        if (MODE == "hangs" and look > 2) or (MODE == "hangs for a while" and look == 3):
            time.sleep(600)
        if MODE == "dies" and look > 2:
            print("MemoryError: no memory left", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if MODE == "closes in the middle":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"version":')
            self.close_connection = True
            return
        if MODE == "answers garbage":
            return self.body(b"\x00\xff not JSON", "application/json")
        if MODE == "never ready":
            failure = {"code": "internal", "sentence": "PyTorch is broken."}
            return self.answer({"version": "0.1.0", "protocol": 1, "ready": False, "failure": failure})
        if MODE == "closes every time":
            self.close_connection = True  # without saying so
        self.answer({"version": "0.1.0", "protocol": 1, "ready": look > 1, "device": {"kind": "cpu", "name": "fake"}})

    def events(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for step in itertools.count() if MODE == "never done" else range(5):
            if cancelled.is_set():
                return self.chunks({"state": "cancelled"})
            self.chunks({"state": "running", "fraction": min(step / 5, 1.0), "doing": f"step {step}"}, last=False)
            time.sleep(0.05)
            if MODE == "breaks off" and step == 2:
                self.close_connection = True
                self.connection.close()
                return None
        if MODE == "fails":
            error = {"code": "no_memory", "sentence": "Memory has run out.", "report": ""}
            return self.chunks({"state": "failed", "error": error})
        if MODE == "has an accident":
            error = {"code": "internal", "sentence": "It failed (KeyError).", "report": "Traceback: its own"}
            return self.chunks({"state": "failed", "error": error})
        return self.chunks({"state": "done", "fraction": 1.0, "result": {"id": "a"}})

    def chunks(self, event, last=True):
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) + (b"0\r\n\r\n" if last else b""))

    def received(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def refuse(self, status, code, sentence):
        self.answer({"error": {"code": code, "sentence": sentence}}, status)

    def answer(self, document, status=200):
        self.body(json.dumps(document).encode(), "application/json", status)

    def body(self, data, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *values):
        print(form % values, file=sys.stderr)


def app(prog_name=""):
    if MODE == "ends at once":
        sys.exit("ImportError: no module named torch")
    if MODE == "says garbage":
        print("Welcome!", flush=True)
        time.sleep(600)
    if MODE == "says nothing":
        time.sleep(600)
    if MODE == "chatters":
        print("x" * 1_000_000, file=sys.stderr, flush=True)
        for number in range(1000):
            print("line", number, file=sys.stderr, flush=True)
    if MODE == "will not end":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, file=sys.stderr, flush=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    protocol = {"older protocol": 0, "newer protocol": 2}.get(MODE, 1)
    host, port = server.server_address
    line = {"emo_avatar": "0.1.0", "protocol": protocol, "host": host, "port": port, "token": TOKEN}
    print(json.dumps(line), flush=True)
    if MODE == "ends while it loads":
        sys.exit("ModuleNotFoundError: No module named 'uvicorn'")
    if MODE == "chatters":
        print("y" * 10_000_000, flush=True)
    sys.stdin.buffer.read()
    if MODE == "will not end":
        time.sleep(600)
