"""Alarms that brokers and commands do not take: each event is heard, or it is told that it was not."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream import notify
from ufafuse.runtime.stream.alarms import AlarmEvent, alarms_from
from ufafuse.runtime.stream.notify import CommandNotifier, MqttNotifier

pytest.importorskip("paho.mqtt.client")
[ALARM] = alarms_from(["sharp<0.6"])


def event(number):
    return AlarmEvent(ALARM, number % 2 == 0, 0.25, 0.6, float(number))


class Broker(threading.Thread):
    """Speaks as much of MQTT 3.1.1 as one publisher needs; ``answers`` says which packets it answers."""

    def __init__(self, port=0, *, answers=("connect", "publish")):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self.answers, self.heard = answers, []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                channel = self.listening.accept()[0]
                threading.Thread(target=self.serve, args=(channel,), daemon=True).start()

    def serve(self, channel):
        with contextlib.suppress(OSError), channel, channel.makefile("rb") as stream:
            while head := stream.read(1):
                length = shift = 0
                while True:
                    digit = stream.read(1)[0]
                    length |= (digit & 127) << shift
                    shift += 7
                    if digit < 128:
                        break
                body = stream.read(length)
                if head[0] >> 4 == 1 and "connect" in self.answers:
                    channel.sendall(b"\x20\x02\x00\x00")
                elif head[0] >> 4 == 3:
                    (size,) = struct.unpack("!H", body[:2])
                    self.heard.append((body[2 : 2 + size].decode(), json.loads(body[4 + size :])["seconds"]))
                    if "publish" in self.answers:
                        channel.sendall(b"\x40\x02" + body[2 + size : 4 + size])

    def close(self):
        self.listening.close()


@pytest.fixture(name="closing")
def _closing():
    with contextlib.ExitStack() as stack:
        yield lambda made: stack.enter_context(contextlib.closing(made))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_while_the_broker_is_away_the_last_events_are_kept_and_lost_ones_are_told(closing, monkeypatch):
    monkeypatch.setattr(notify, "_MOST_WAITING", 5)
    told, port = [], free_port()
    notifier = MqttNotifier(f"mqtt://127.0.0.1:{port}/line/a", told.append)
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        time.sleep(0.02)
    for number in range(9):
        notifier(event(number))
    broker = closing(Broker(port))
    until = time.monotonic() + 20
    while len(broker.heard) < 5 and time.monotonic() < until:
        time.sleep(0.05)
    notifier.close()
    assert broker.heard == [("line/a", float(number)) for number in range(4, 9)]
    assert [text.partition(": ")[2].split()[0] for text in told if "takes nothing" in text] == ["1", "2", "4"]
    assert told[-1].endswith("is there")


@pytest.mark.parametrize(("answers", "count"), [((), 40), (("connect",), 40), (("connect", "publish"), 25), (None, 3)], ids=str)
def test_every_event_is_confirmed_or_told(closing, answers, count):
    told, port = [], free_port()
    broker = None if answers is None else closing(Broker(port, answers=answers))
    notifier = MqttNotifier(f"mqtt://127.0.0.1:{port}/a", told.append)
    for number in range(count):
        notifier(event(number))
        time.sleep(0.01)
    began = time.monotonic()
    notifier.close()
    assert time.monotonic() - began < 4
    if answers == ("connect", "publish"):
        assert broker is not None and len(broker.heard) == count
        assert told == []
        return
    lost = max((int(text.partition("nothing: ")[2].split()[0]) for text in told if "takes nothing" in text), default=0)
    assert told[-1].endswith(f"has not confirmed {count - lost} events until the end")


def test_an_acknowledgement_that_comes_before_publish_returns_counts(monkeypatch):
    notifier = MqttNotifier(f"mqtt://127.0.0.1:{free_port()}/a", lambda text: None)
    notifier._there = True

    def publish(*_arguments, **_options):
        notifier._published()
        return type("Sent", (), {"rc": 0, "mid": 1})()

    monkeypatch.setattr(notifier._client, "publish", publish)
    notifier(event(0))
    assert notifier._left == 0
    notifier.close()


@pytest.mark.parametrize(
    "address",
    [
        "host/a%23b",
        "host/a%2Bb",
        "host/a%00b",
        "[::1/a",
        "host/a?x=1",
        "host/a#b",
        "host:0/a",
        "a..b/a",
        "host/" + "x" * 70_000,
    ],
)
def test_what_no_broker_would_take_is_refused_at_once(address):
    with pytest.raises(InputError, match="is no broker and topic"):
        MqttNotifier(f"mqtt://{address}", print)


def test_a_password_may_hold_any_character():
    parts, port, topic = notify._broker_in("mqtt://me:a+b%23c@host/line/x")
    assert (parts.password, port, topic) == ("a+b%23c", 1883, "line/x")


def test_events_that_a_slow_command_was_not_run_for_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(notify, "_END_SECONDS", 1.0)
    told = []
    notifier = CommandNotifier(f"echo x >> {tmp_path}/heard; exec sleep 3", told.append)
    for number in range(5):
        notifier(event(number))
    notifier.close()
    assert (tmp_path / "heard").read_text().split() == ["x"]
    assert told == ["the command of `on_alarm` was too slow: the run has ended, and 4 events were not told"]
    notifier.join(5)
    assert (tmp_path / "heard").read_text().split() == ["x"]


def test_a_broker_that_is_away_from_the_start_is_told():
    command = [sys.executable, "-m", "ufafuse", "stream", "--model", "copy", "--json", "--seconds", "1"]
    command += ["--near", "sim:?size=96x160", "--far", "sim:?size=96x160", "--alarm", "latency_ms>=0"]
    done = subprocess.run(
        [*command, "--mqtt", f"mqtt://127.0.0.1:{free_port()}/a"], capture_output=True, text=True, timeout=60, check=False
    )
    told = json.loads(done.stdout)["events"]
    assert any("cannot be reached (Connection refused): trying again" in text for text in told)
    assert any("has not confirmed 1 event until the end" in text for text in told)
