"""Load on `ufa serve`: starts one on loopback, lets clients ask it, and says what became of it.

    python tests/load/run.py --clients 32 --seconds 180 -o reports/serve-load/load.json

Exit code 1 where an answer was an error but 503, where nothing was fused, or where memory grew by more than a tenth after the
first third of the run. Needs locust (`pip install locust`), in this Python or in that of ``--locust``.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
_SAMPLE_SECONDS = 1.0
_GROWTH = 1.1


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument(
        "--queue", type=int, default=16, help="of the server: fewer than the clients, so that some are told 503"
    )
    parser.add_argument("--model", default="ufa-edge")
    parser.add_argument("--locust", default=sys.executable, help="a Python that has locust")
    parser.add_argument("-o", "--out", type=Path)
    return parser.parse_args()


class Watched:
    """The server's memory, sampled while clients ask."""

    def __init__(self, url: str) -> None:
        self.url, self.mib, self._ended = url, list[float](), threading.Event()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            with self._opener.open(f"{self.url}metrics", timeout=30) as answer:
                found = _MEMORY.search(answer.read().decode())
            if found:
                self.mib.append(float(found[1]) / 2**20)


def asked_by_clients(asked: argparse.Namespace, url: str) -> list[dict]:
    """Locust's figures, an entry for what was fused and one for what was told 503."""
    command = [asked.locust, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--json", "--only-summary"]
    command += ["-H", url.rstrip("/"), "-u", str(asked.clients), "-r", str(asked.clients), "-t", f"{asked.seconds}s"]
    environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "Traceback" in done.stderr:  # a client that fails by itself is no failed request to locust
        raise SystemExit(f"a client failed: {done.stderr[-2000:]}")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise SystemExit(f"locust did not run: {done.stderr[-2000:]}") from error


def percentile(entry: dict, share: float) -> float:
    """Milliseconds within which that share of the answers came."""
    times = sorted((float(ms), count) for ms, count in entry["response_times"].items())
    wanted, seen = share * sum(count for _, count in times), 0
    for ms, count in times:
        seen += count
        if seen >= wanted:
            return ms
    return 0.0


def summary(asked: argparse.Namespace, entries: list[dict], mib: list[float], told: dict) -> dict:
    """The report."""
    by_name = {entry["name"]: entry for entry in entries}
    fused, full = by_name.get("fuse"), by_name.get("full")
    errors = sum(entry["num_failures"] for entry in entries)
    third = len(mib) // 3
    settled = max(mib[third : 2 * third] or [0.0])
    grown = bool(third) and max(mib[2 * third :]) > _GROWTH * settled
    report = {
        "clients": asked.clients,
        "seconds": asked.seconds,
        "queue": asked.queue,
        "model": asked.model,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "load_average_before": asked.load,
        "fused": fused["num_requests"] if fused else 0,
        "told_503": full["num_requests"] if full else 0,
        "errors": errors,
        "ms": {name: percentile(fused, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))} if fused else {},
        "per_second": round(fused["num_requests"] / asked.seconds, 2) if fused else 0,
        "memory_mib": {"first": round(mib[0]), "middle": round(settled), "last": round(mib[-1])} if mib else {},
        "server": told,
    }
    return {"ok": not errors and bool(fused) and not grown and told["ok"], **report}


def main() -> int:
    """Run it."""
    asked = arguments()
    asked.load = round(os.getloadavg()[0], 2)
    command = [sys.executable, "-m", "ufafuse", "serve", "--port", "0", "--model", asked.model, "--queue", str(asked.queue)]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = next(found[1] for line in server.stderr if (found := re.search(r"serving at (\S+)", line)))
            threading.Thread(target=server.stderr.read, daemon=True).start()
            with Watched(url) as watched:
                entries = asked_by_clients(asked, url)
            server.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            output = server.stdout.read()
            server.wait(60)
            told = json.loads(output) | {"seconds_to_end": round(time.monotonic() - begun, 2)}
        finally:
            server.kill()
    report = summary(asked, entries, watched.mib, told)
    text = json.dumps(report, indent=2)
    sys.stdout.write(f"{text}\n")
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
