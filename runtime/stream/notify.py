"""Who hears of alarms besides the log and the page: a command, a broker of MQTT."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.alarms import AlarmEvent
from ufafuse.runtime.texts import json_text, one_line

_MOST_WAITING = 32  # events for a command that is slow; then the newest is lost, and told
_COMMAND_SECONDS = 60.0
_END_SECONDS = 2.0  # that the end of a run waits for what is under way
_LEAVE_SECONDS = 0.5  # that leaving the broker may take
_QUEUE_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE
_LONGEST_TOPIC = 65_535  # bytes
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
        self._given = self._begun = 0
        self._ending = False
        self.start()

    def __call__(self, event: AlarmEvent) -> None:
        """Run the command for ``event``; returns at once."""
        try:
            self._events.put_nowait(event)
            self._given += 1
        except queue.Full:
            self._tell(f"the command of `on_alarm` is too slow: an event is lost ({event})")

    def run(self) -> None:
        """The thread's work."""
        while (event := self._events.get()) is not None and not self._ending:
            self._begun += 1
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
        """Run it for what waits, for two seconds at most; that it was not run for some of them is told."""
        until = time.monotonic() + _END_SECONDS
        with contextlib.suppress(queue.Full):
            self._events.put(None, timeout=_END_SECONDS)
        self.join(max(0.0, until - time.monotonic()))
        self._ending = True  # what is under way is left behind, and nothing more is begun
        if left := self._given - self._begun:
            self._tell(f"the command of `on_alarm` was too slow: the run has ended, and {_events(left)} not told")


class MqttNotifier:
    """Publishes each event as JSON, with quality of service 1; the broker may come and go.

    While it is away the last 32 events are kept. What is lost, and what the broker has not confirmed at the end, is told.

    Args:
        url: ``mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC``; ``mqtts`` for TLS.
        tell: Takes a sentence for people, from any thread, from now on.

    Raises:
        InputError: The address cannot be used, or the extra is missing.
    """

    def __init__(self, url: str, tell: Callable[[str], None]) -> None:
        parts, port, self._topic = _broker_in(url)
        try:
            from paho.mqtt import client, enums
        except ModuleNotFoundError as error:
            raise InputError("MQTT needs paho-mqtt: run `pip install 'ufafuse[mqtt]'`.") from error
        self._tell = tell
        self._name = f"{parts.hostname}:{port}"
        self._away = self._ending = False
        # Kept here and not by the client, which would lose the newest. The lock is never taken by `on_publish`, which the
        # client calls while it holds one that `publish` needs.
        self._there = False
        self._kept: deque[AlarmEvent] = deque()
        self._changing = threading.RLock()  # the client may find the broker gone within `publish`
        self._given = self._confirmed = self._lost = 0  # each is counted by one thread
        self._client: Any = client.Client(enums.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(_MOST_WAITING)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.on_publish = self._published
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.connect_async(parts.hostname or "", port)
        self._client.loop_start()

    def __call__(self, event: AlarmEvent) -> None:
        """Publish ``event``; returns at once."""
        with self._changing:
            if self._there:
                self._publish(event)
                return
            self._kept.append(event)
            if len(self._kept) > _MOST_WAITING:
                self._lose(self._kept.popleft())

    def _publish(self, event: AlarmEvent) -> None:
        """Hand an event to the client, which sends it again where the connection breaks."""
        if self._client.publish(self._topic, json_text(event.to_json()), qos=1).rc == _QUEUE_FULL:
            self._lose(event)
        else:
            self._given += 1

    def _lose(self, event: AlarmEvent) -> None:
        self._lost += 1
        if self._lost & (self._lost - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a log for days
            self._tell(f"the MQTT broker {self._name} takes nothing: {_events(self._lost)} lost until now ({event})")

    def _published(self, *_told: object) -> None:
        self._confirmed += 1

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        if reason.is_failure:
            self._gone(f"refuses the connection ({reason})")
            return
        with self._changing:
            self._there = True
            while self._kept:
                self._publish(self._kept.popleft())
        if self._away:
            self._tell(f"the MQTT broker {self._name} is there")
        self._away = False

    def _failed(self, *_told: object) -> None:
        """The client calls this while it handles what went wrong, and does not say what."""
        error = sys.exc_info()[1]
        reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error or "")
        self._gone(f"cannot be reached ({one_line(reason)})" if reason else "cannot be reached")

    def _disconnected(self, *_told: object) -> None:
        if not self._ending:
            self._gone("has gone")

    def _gone(self, how: str) -> None:
        with self._changing:
            self._there = False
        if not self._away:
            self._away = True
            self._tell(f"the MQTT broker {self._name} {how}: trying again")

    @property
    def _left(self) -> int:
        """Events that the broker has not confirmed, without those that were lost."""
        return len(self._kept) + self._given - self._confirmed

    def close(self) -> None:
        """Publish what waits, for two seconds at most, and leave."""
        until = time.monotonic() + _END_SECONDS
        while self._left and time.monotonic() < until:
            time.sleep(0.02)
        if left := self._left:
            self._tell(f"the MQTT broker {self._name} has not confirmed {left} event{'s' if left > 1 else ''} until the end")
        self._ending = True
        self._client.disconnect()
        # It waits for the client's thread, which may be in a name server or in a broker's silence.
        leaving = threading.Thread(target=self._client.loop_stop, name="ufafuse-mqtt-end", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)


def _broker_in(url: str) -> tuple[SplitResult, int, str]:
    """The parts of a broker's address, its port and the topic. Raises: InputError."""
    with contextlib.suppress(ValueError):  # a port or a name that is none, characters that no protocol has
        parts = urlsplit(url)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        topic = unquote(parts.path).strip("/")
        (parts.hostname or "").encode("idna")
        a_topic = 0 < len(topic.encode()) <= _LONGEST_TOPIC and not set(topic) & set("#+\0")
        whole = not set(url.rpartition("@")[2]) & set("?#")
        if parts.scheme in _PORTS and parts.hostname and port and a_topic and whole:
            return parts, port, topic
    raise InputError(f"`mqtt={_shown(url)}` is no broker and topic: give mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC.")


def _events(count: int) -> str:
    return "1 event was" if count == 1 else f"{count} events were"


def _shown(url: str) -> str:
    """The address without its password."""
    head, at, tail = url.rpartition("@")
    scheme, _, credentials = head.partition("://")
    return f"{scheme}://{credentials.partition(':')[0]}@{tail}" if at else url
