"""Runs IBM's integration suite, from the client's source package, unchanged.

The suite skips every test when its settings are not found, and pytest calls
that a success. So the tests that ran are counted.
"""

import os
import pathlib
import subprocess
import sys
import tarfile

from emulator import API_KEY, INSTANCE, Emulator

VERSION = "3.0.1"
SUITE = f"keyprotect-{VERSION}/test/integration/test_ibm_key_protect_api_v2.py"


def main():
    venv, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
    folder = venv / "ibm-suite"
    folder.mkdir(exist_ok=True)
    package = folder / f"keyprotect-{VERSION}.tar.gz"
    if not package.exists():
        # Wheels come without tests.
        pip = [venv / "bin/pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        subprocess.run([*pip, f"--dest={folder}", f"keyprotect=={VERSION}"], check=True)
    with tarfile.open(package) as archive:
        suite = folder / pathlib.Path(SUITE).name
        suite.write_bytes(archive.extractfile(SUITE).read())
    with Emulator() as emulator:
        settings = {
            "URL": emulator.api,
            "AUTH_TYPE": "iam",
            "APIKEY": API_KEY,
            "AUTH_URL": emulator.api,
            "BLUEMIX_INSTANCE": INSTANCE,
        }
        lines = [f"IBM_KEY_PROTECT_API_{name}={value}\n" for name, value in settings.items()]
        (folder / "ibm_key_protect_api_v2.env").write_text("".join(lines))
        environment = os.environ | {"REQUESTS_CA_BUNDLE": emulator.ca, "NO_PROXY": "*"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", "--tb=line"]
        run = subprocess.run(
            [*command, suite.name, *arguments], cwd=folder, env=environment, check=False
        )
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
