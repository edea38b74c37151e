"""Who hears of alarms besides the log and the page: a command, a broker of MQTT."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.alarms import AlarmEvent
from ufafuse.runtime.texts import json_text, one_line

_MOST_WAITING = 32  # events for a command that is slow; then the newest is lost, and told
_COMMAND_SECONDS = 60.0
_END_SECONDS = 2.0  # that the end of a run waits for what is under way
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class CommandNotifier(threading.Thread):
    """Runs a command for each event, one after the other, in a thread of its own.

    The command is given to the shell. It finds the event in its environment: ``UFAFUSE_ALARM`` (the alarm's text),
    ``UFAFUSE_STATE`` (``on`` or ``over``), ``UFAFUSE_FIGURE``, ``UFAFUSE_VALUE``, ``UFAFUSE_LIMIT``, ``UFAFUSE_SECONDS``, and
    all of it as JSON in ``UFAFUSE_EVENT``. Its standard output goes nowhere.

    Args:
        command: For the shell.
        tell: Takes a sentence for people where it fails, or takes longer than a minute.
    """

    def __init__(self, command: str, tell: Callable[[str], None]) -> None:
        super().__init__(name="ufafuse-alarm", daemon=True)
        self._command = command
        self._tell = tell
        self._events: queue.Queue[AlarmEvent | None] = queue.Queue(_MOST_WAITING)
        self.start()

    def __call__(self, event: AlarmEvent) -> None:
        """Run the command for ``event``; returns at once."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._tell(f"the command of `on_alarm` is too slow: an event is lost ({event})")

    def run(self) -> None:
        """The thread's work."""
        while (event := self._events.get()) is not None:
            self._run_for(event)

    def _run_for(self, event: AlarmEvent) -> None:
        values = event.to_json()
        told = {"ALARM": values["alarm"], "STATE": "on" if event.on else "over", "EVENT": json_text(values)}
        told |= {name.upper(): str(values[name]) for name in ("figure", "value", "limit", "seconds")}
        environment = os.environ | {f"UFAFUSE_{name}": value for name, value in told.items()}
        try:
            done = subprocess.run(  # noqa: S602 - the command of who runs us
                self._command,
                shell=True,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._tell(f"the command of `on_alarm` failed: {one_line(error)}")
            return
        if done.returncode:
            said = one_line(done.stderr.decode(errors="replace"))[-200:]
            self._tell(f"the command of `on_alarm` ended with {done.returncode}" + (f": {said}" if said else ""))

    def close(self) -> None:
        """Run it for what waits, for two seconds at most."""
        try:
            self._events.put(None, timeout=_END_SECONDS)
        except queue.Full:
            return
        self.join(_END_SECONDS)


class MqttNotifier:
    """Publishes each event as JSON, with quality of service 1; the broker may come and go.

    Args:
        url: ``mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC``; ``mqtts`` for TLS.
        tell: Takes a sentence for people.

    Raises:
        InputError: The address cannot be used, or the extra is missing.
    """

    def __init__(self, url: str, tell: Callable[[str], None]) -> None:
        parts = urlsplit(url)
        topic = unquote(parts.path).strip("/")
        try:
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if parts.scheme not in _PORTS or not parts.hostname or not port or not topic or set(url) & set("#+\0"):
            raise InputError(f"`mqtt={_shown(url)}` is no broker and topic: give mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC.")
        try:
            from paho.mqtt import client, enums
        except ModuleNotFoundError as error:
            raise InputError("MQTT needs paho-mqtt: run `pip install 'ufafuse[mqtt]'`.") from error
        self._topic, self._tell = topic, tell
        self._name = f"{parts.hostname}:{port}"
        self._away = False
        self._client: Any = client.Client(enums.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(_MOST_WAITING)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = lambda *_told: self._gone("cannot be reached")
        self._client.on_disconnect = self._disconnected
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._ending = False
        self._waiting: set[int] = set()
        self._client.on_publish = lambda _client, _data, number, *_told: self._waiting.discard(number)
        self._client.connect_async(parts.hostname, port)
        self._client.loop_start()

    def __call__(self, event: AlarmEvent) -> None:
        """Publish ``event``; returns at once, and keeps it while the broker is away (the last 32)."""
        sent = self._client.publish(self._topic, json_text(event.to_json()), qos=1)
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.add(sent.mid)

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        if reason.is_failure:
            self._gone(f"refuses the connection ({reason})")
            return
        if self._away:
            self._tell(f"the MQTT broker {self._name} is there")
        self._away = False

    def _disconnected(self, *_told: object) -> None:
        if not self._ending:
            self._gone("has gone")

    def _gone(self, how: str) -> None:
        if not self._away:
            self._away = True
            self._tell(f"the MQTT broker {self._name} {how}: trying again")

    def close(self) -> None:
        """Publish what waits, for two seconds at most, and leave."""
        until = time.monotonic() + _END_SECONDS
        while self._waiting and time.monotonic() < until:
            time.sleep(0.02)
        self._ending = True
        self._client.disconnect()
        self._client.loop_stop()


def _shown(url: str) -> str:
    """The address without its password."""
    head, at, tail = url.rpartition("@")
    scheme, _, credentials = head.partition("://")
    return f"{scheme}://{credentials.partition(':')[0]}@{tail}" if at else url
