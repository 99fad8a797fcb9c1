"""Starts the emulator's binary, and speaks to its admin port."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

INSTANCE = "aaaaaaaa-0000-4000-8000-000000000001"
API_KEY = "manager-key"
READER_KEY = "reader-key"

SEED = {
    "instances": [{"id": INSTANCE}],
    "serviceIds": [
        {"name": "manager", "apiKey": API_KEY, "roles": [{"instance": INSTANCE, "role": "Manager"}]},
        {"name": "reader", "apiKey": READER_KEY, "roles": [{"instance": INSTANCE, "role": "Reader"}]},
    ],
}


class Emulator:
    """A running emulator, with TLS, that ends with the `with` block."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        (folder / "seed.json").write_text(json.dumps(SEED))
        ports = folder / "ports.json"
        self.ca = str(folder / "ca.pem")
        self.process = subprocess.Popen(
            [
                os.environ["EMULATOR"],
                "--tls",
                f"--tls-cert-out={self.ca}",
                f"--ports-file={ports}",
                f"--seed={folder / 'seed.json'}",
                f"--owner-pid={os.getpid()}",
                "--log=warn",
            ]
        )
        deadline = time.monotonic() + 20
        while not ports.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the emulator did not start")
            time.sleep(0.02)
        urls = json.loads(ports.read_text())
        self.api, self.admin_url = urls["api"], urls["admin"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.folder.cleanup()

    def admin(self, method, path, body=None):
        """Sends an order to the admin port and returns its JSON, if any."""
        request = urllib.request.Request(
            self.admin_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None
