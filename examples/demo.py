"""The whole line on this machine, told step by step: `make demo`, or `python examples/demo.py [FOLDER]`.

Copies examples/specs to .demo/ and does there what you would type: validate, render, plan, run, promote, serve, and one
prediction over HTTP. A second run finds every finished step and takes seconds. Needs nothing but Python's standard
library here; the commands it runs need aifctl with the extras torch, onnx, mlflow and serve.
"""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = "digits"
SPEC = "digits-pytorch/model.yaml"
ENVIRONMENT = "lab"
READY_WITHIN = 60
COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / ".demo").resolve()
    began = time.monotonic()
    say(1, "Specs", f"Five files describe a platform and four models. They are copied to {shown(folder)}.")
    copy_specs(folder)
    print((folder / SPEC).read_text())

    say(2, "Validate", "References between sections, splits, metrics, what fits together: before any computer time.")
    aifctl(folder, "validate")

    say(
        3,
        "Render",
        f"Plain manifests for the cluster `{ENVIRONMENT}`, one object a file, byte for byte the same each time.",
    )
    aifctl(folder, "render", "--env", ENVIRONMENT)

    say(4, "Plan", "A stricter gate: which steps would run again? Only the gate's: its digest alone holds the bound.")
    plan_stricter_gate(folder)

    say(
        5,
        "Run",
        "The same steps as in the pods, as processes here: prepare, train, evaluate, gate, export, verify, register.",
    )
    aifctl(folder, "run", SPEC)

    say(6, "Promote", "A release is a file for Git: which bundle serves, its digest, and what spoke for it.")
    aifctl(folder, "promote", MODEL, "--env", "local")

    say(7, "Serve", "The released bundle over HTTP, and one handwritten digit from the CSV file.")
    serve_and_ask(folder)

    say(8, "Where everything lies", f"{time.monotonic() - began:.0f} seconds in all.")
    print_places(folder)


def copy_specs(folder):
    """Specs come anew; artifacts of an earlier demo stay, so that finished steps are found."""
    for name in ("rendered", "releases"):
        shutil.rmtree(folder / name, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases")
    shutil.copytree(HERE / "specs", folder, dirs_exist_ok=True, ignore=ignored)


def plan_stricter_gate(folder):
    spec = folder / SPEC
    text = spec.read_text()
    stricter = text.replace("gate: {accuracy: {min: 0.95}}", "gate: {accuracy: {min: 0.96}}")
    if stricter == text:
        sys.exit(f"{spec} has no gate of 0.95 any more; examples/demo.py must follow it")
    spec.write_text(stricter)
    try:
        aifctl(folder, "plan", SPEC, "--env", ENVIRONMENT, expected=2)
    finally:
        spec.write_text(text)


def serve_and_ask(folder):
    port = free_port()
    command = [sys.executable, "-m", "aifctl", "serve", MODEL, "--env", "local", "--port", str(port)]
    show_command(command[2:])
    server = subprocess.Popen(command, cwd=folder)
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}/v2/health/ready")
        ask(folder, f"http://127.0.0.1:{port}/predict")
    finally:
        server.terminate()
        server.wait(timeout=60)
    print(f"server stopped (exit code {server.returncode})")


def wait_until_ready(server, url):
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"the server was not ready within {READY_WITHIN} s")


def ask(folder, url):
    with (folder / "digits-pytorch/data/digits.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    truth = row.pop("digit")
    pixels = {name: float(value) for name, value in row.items()}
    draw(pixels)
    print(f"POST {url}   (64 pixels as JSON; the file says it is a {truth})")
    body = json.dumps(pixels).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    print(f"→ label {answer['label']}, confidence {answer['confidence']:.3f}")
    if str(answer["label"]) != truth:
        sys.exit("the model reads this digit wrongly")


def draw(pixels):
    values = [pixels[f"p{index}"] for index in range(64)]
    for row in range(8):
        print("    " + "".join(2 * " ░▒▓█"[min(4, int(values[8 * row + column] // 3.5))] for column in range(8)))


def print_places(folder):
    places = {
        "manifests": f"rendered/{ENVIRONMENT}",
        "artifacts": ".aif",
        "release": f"releases/local/{MODEL}.yaml",
    }
    for name, place in places.items():
        if not (folder / place).exists():
            sys.exit(f"{folder / place} is missing")
        print(f"  {name:10} {shown(folder / place)}")
    program = os.path.relpath(Path(sys.executable).with_name("aifctl"), folder)
    print(f"\nGo on there:  cd {shown(folder)} && {program} runs")


def aifctl(folder, *arguments, expected=0):
    show_command(["aifctl", *arguments])
    code = subprocess.run([sys.executable, "-m", "aifctl", *arguments], cwd=folder, check=False).returncode
    if code != expected:
        sys.exit(f"`aifctl {' '.join(arguments)}` ended with exit code {code} instead of {expected}")


def say(number, title, text):
    print(f"\n{styled('1', f'{number}. {title}')}  {text}\n", flush=True)


def show_command(words):
    print(styled("36", "$ " + " ".join(words)), flush=True)


def styled(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


def shown(path):
    """Relative to the current folder where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
