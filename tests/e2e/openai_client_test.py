#!/usr/bin/env python3
"""OpenAI's own client library for node against `inferos serve`: starts the server, runs openai_client.mjs against it."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

PACKAGE = "openai@6"
SKIPPED = 77


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def install(folder):
    """The package in a folder of the build, once."""
    if (folder / "node_modules/openai/package.json").exists():
        return
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("no node: apt-get install nodejs npm")
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE],
                            capture_output=True, timeout=120, check=False)
    if result.returncode != 0:
        skip(f"npm cannot install {PACKAGE} (no network?): {result.stderr.decode(errors='replace').strip()[-300:]}")


def main():
    binary, repository, node_folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    install(node_folder)
    with tempfile.TemporaryDirectory(prefix="inferos-e2e-") as home:
        environment = {**os.environ, "HOME": home, "XDG_STATE_HOME": home, "INFEROS_RANDOM_PORT": "true"}
        server = subprocess.Popen([binary, "serve", "--json", "--alias", "gpt-4o-mini"], stdout=subprocess.PIPE,
                                  env=environment, text=True)
        try:
            text = ""
            while not text.endswith("}\n"):
                line = server.stdout.readline()
                if not line:
                    sys.exit(f"the server ended with {server.wait()}")
                text += line
            # Modules are found from the script's place, so that it runs from a copy beside them.
            script = node_folder / "openai_client.mjs"
            shutil.copy(repository / "tests/e2e/openai_client.mjs", script)
            result = subprocess.run(["node", str(script), json.loads(text)["url"]], timeout=240, check=False)
            server.send_signal(signal.SIGTERM)
            ended = server.wait(60)
        finally:
            server.kill()
    if ended != 0:
        sys.exit(f"the server ended with {ended}")
    sys.exit(result.returncode)


main()
