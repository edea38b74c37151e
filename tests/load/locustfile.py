"""What each client of the load test does: it sends a pair, waits as long as it is told where the server is full, sends again.

Run by run.py; locust comes from `pip install locust`.
"""

from pathlib import Path

import gevent
from locust import HttpUser, constant, task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAIR = [(f"sample_{side}.png", (EXAMPLES / f"sample_{side}.png").read_bytes()) for side in "AB"]


class Client(HttpUser):
    """Asks again as soon as it has an answer."""

    wait_time = constant(0)

    @task
    def fuse(self):
        """A picture, or 503 with the time to come again; anything else is an error."""
        files = [("image", (name, data, "image/png")) for name, data in PAIR]
        with self.client.post("/fuse?format=jpg", files=files, catch_response=True, name="fuse") as answer:
            if answer.status_code == 200 and answer.content.startswith(b"\xff\xd8\xff"):
                answer.success()
                return
            if answer.status_code != 503 or "Retry-After" not in answer.headers:
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")
                return
            answer.request_meta["name"] = "full"  # told to come again: no error, and counted by itself
            answer.success()
            pause = float(answer.headers["Retry-After"])
        gevent.sleep(pause)
