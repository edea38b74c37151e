"""Alarms: what is told when a picture is no longer good, how soon, and that nothing is told when it is."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from ufafuse.commands.cli import main
from ufafuse.commands.schema import schema_of
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.alarms import AlarmEvent, Alarms, alarms_from
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.notify import CommandNotifier, MqttNotifier
from ufafuse.runtime.stream.quality import FIGURES, QualityMeter
from ufafuse.runtime.stream.sources import SimSettings, SimSource

RATE = 10.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sharp<0.6 for 2s", ("sharp", "<", 0.6, "", 2.0)),
        ("  latency_ms >= 200 ", ("latency_ms", ">=", 200.0, "", 0.0)),
        ("sharpness<.7*usual for 1.5", ("sharpness", "<", 0.7, "*", 1.5)),
        ("shift > usual + 1 for 500ms", ("shift", ">", 1.0, "+", 0.5)),
        ("frozen>=10 for 1min", ("frozen", ">=", 10.0, "", 60.0)),
    ],
)
def test_what_an_alarm_says(text, parts):
    [alarm] = alarms_from([text])
    assert (alarm.name, alarm.sign, alarm.value, alarm.of_usual, alarm.seconds) == parts


@pytest.mark.parametrize(
    "text", ["", "sharp", "sharp<", "sharp<0.6 for", "sharp=0.6", "sharp<0.6 for 2 weeks", "sharp<-1", "sharp<0.6; rm"]
)
def test_what_none_says(text):
    with pytest.raises(InputError, match=r"cannot be read: give such as 'sharp<0\.6 for 2s'"):
        alarms_from([text])


def test_an_unknown_figure_is_named():
    with pytest.raises(InputError, match="`alarm=colour<1` names no figure that there is: give one of sharp, wins"):
        alarms_from(["colour<1"])


def told_by(text, values, step=0.1):
    """(seconds, on) of each event, for a figure that takes ``values`` one after the other."""
    events = []
    [alarm] = alarms_from([text])
    alarms = Alarms([alarm], lambda event: events.append((round(event.seconds, 3), event.on)))
    for number, value in enumerate(values):
        alarms.see(number * step, {alarm.name: value})
    return events


def test_it_begins_after_its_time_and_is_over_after_as_long():
    good, bad = [1.0] * 30, [0.5] * 30
    assert told_by("sharp<0.6 for 1s", [*good, *bad, *good]) == [(4.0, True), (7.0, False)]
    assert told_by("sharp<0.6", [*good, *bad, *good]) == [(3.0, True), (6.0, False)]
    assert told_by("sharp<0.6 for 1s", [*good, *([0.5] * 9 + [1.0]) * 5]) == [], "a break begins the time anew"
    flutter = [*good, *bad, *([1.0] * 5 + [0.5]) * 5]
    assert told_by("sharp<0.6 for 1s", flutter) == [(4.0, True)]
    assert told_by("sharp<0.6 for 1s", [1.0, float("nan")] * 30) == []


def test_the_usual_is_learnt_first():
    assert told_by("sharp<0.6*usual for 1s", [0.1] * 100) == []
    assert told_by("sharp<0.6*usual for 1s", [0.5] * 60 + [0.2] * 20) == [(7.0, True)]
    assert told_by("shift>usual+1", [3.0] * 60 + [3.9] * 20 + [4.1] * 5) == [(8.0, True)]


def scene(seconds, near="", far="", **settings):
    """The events of the usual alarms in so many simulated seconds, without waiting for them."""
    sides = []
    for side, spoils in ((NEAR, near), (FAR, far)):
        spoiled = dict(spoils) if spoils else {}
        sides.append(SimSource(None, side, SimSettings(rate=RATE, **settings, **spoiled)))
    events, meter = [], QualityMeter()
    alarms = Alarms(alarms_from(["usual"]), events.append)
    for number in range(int(seconds * RATE)):
        quality = meter.judge([side.picture_of(number) for side in sides])
        alarms.see(number / RATE, {name: quality.figure(name) for name in FIGURES})
    return [(event.seconds, event.alarm.name, event.on) for event in events]


def first(events):
    return next(seconds for seconds, _, on in events if on)


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"hand": [(10.0, 5.0)]}, {"sharpness", "brightness", "exposure"}),
        ({"exposure": [(10.0, 1.3)]}, {"exposure"}),
        ({"frozen": [(10.0, 5.0)]}, {"frozen", "disagreement"}),
        ({"behind": [(10.0, 5.0)]}, {"shift"}),
        ({"drift": [(10.0, 1.0)]}, {"sharpness"}),
    ],
    ids=["hand", "exposure", "frozen", "behind", "lost focus"],
)
def test_what_goes_wrong_is_told_within_two_seconds(side, what, expected):
    events = scene(18, **{side: what})
    assert 10 <= first(events) <= 12
    assert expected <= {name for _, name, on in events if on}
    if "exposure" not in what and "drift" not in what:
        ended = [seconds for seconds, _, on in events if not on]
        assert ended, "and when it is over"


def test_a_lens_that_drifts_for_a_minute_is_told():
    """Long before it is out of focus: at a third of the way, two pixels of blur."""
    assert first(scene(70, near={"drift": [(6.0, 60.0)]})) < 40


def test_nothing_is_told_in_a_quiet_minute():
    assert scene(60) == []


@pytest.mark.slow
@pytest.mark.parametrize("speed", [0, 2, 7])
def test_nothing_is_told_in_ten_quiet_minutes(speed):
    assert scene(600, speed=speed) == []


def event(*, on=True):
    [alarm] = alarms_from(["sharp<0.6 for 2s"])
    return AlarmEvent(alarm, on, 0.41234567, 0.6, 12.5)


def test_a_command_is_run_with_the_event_in_its_environment(tmp_path):
    told = []
    notifier = CommandNotifier(
        f'echo "$UFAFUSE_STATE $UFAFUSE_FIGURE $UFAFUSE_VALUE $UFAFUSE_EVENT" >> {tmp_path}/heard', told.append
    )
    notifier(event())
    notifier(event(on=False))
    notifier.close()
    lines = (tmp_path / "heard").read_text().splitlines()
    assert [line.split(" {")[0] for line in lines] == ["on sharp 0.4123", "over sharp 0.4123"]
    assert json.loads("{" + lines[0].split(" {", 1)[1])["alarm"] == "sharp<0.6 for 2s"
    assert told == []


def test_a_command_that_fails_is_told_and_one_that_hangs_holds_up_nothing():
    told = []
    failing = CommandNotifier("echo broken >&2; exit 3", told.append)
    failing(event())
    failing.close()
    assert told == ["the command of `on_alarm` ended with 3: broken"]
    hanging = CommandNotifier("exec sleep 5", told.append)
    began = time.monotonic()
    for _ in range(40):
        hanging(event())
    assert time.monotonic() - began < 1
    assert "is too slow: an event is lost" in told[-1]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(name="broker")
def _broker(tmp_path):
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None or (shutil.which("mosquitto_sub") is None and not pytest.importorskip("paho.mqtt")):
        pytest.skip("mosquitto is not installed")
    port = free_port()
    (tmp_path / "broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")

    def start():
        process = subprocess.Popen(
            [program, "-c", str(tmp_path / "broker.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        started.append(process)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.05)
        raise AssertionError("the broker does not start")

    started = []
    yield port, start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(name="heard")
def _heard():
    """What a subscriber of a real broker hears, as objects."""
    client = pytest.importorskip("paho.mqtt.client")
    enums = pytest.importorskip("paho.mqtt.enums")
    messages, subscribers = [], []

    def listen(port, topic):
        subscriber = client.Client(enums.CallbackAPIVersion.VERSION2)
        subscriber.on_message = lambda _client, _data, message: messages.append(json.loads(message.payload))
        subscribed = []
        subscriber.on_subscribe = lambda *told: subscribed.append(told)
        subscriber.connect("127.0.0.1", port)
        subscriber.subscribe(topic, qos=1)
        subscriber.loop_start()
        subscribers.append(subscriber)
        deadline = time.monotonic() + 10
        while not subscribed and time.monotonic() < deadline:
            time.sleep(0.02)
        return messages

    yield listen
    for subscriber in subscribers:
        subscriber.disconnect()
        subscriber.loop_stop()


def until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_a_broker_hears_of_alarms(broker, heard):
    port, start = broker
    start()
    messages = heard(port, "line/1/alarms")
    told = []
    notifier = MqttNotifier(f"mqtt://127.0.0.1:{port}/line/1/alarms", told.append)
    notifier(event())
    notifier(event(on=False))
    until(lambda: len(messages) == 2)
    notifier.close()
    assert [(message["figure"], message["on"], message["value"]) for message in messages] == [
        ("sharp", True, 0.4123),
        ("sharp", False, 0.4123),
    ]
    assert told == []


def test_a_broker_that_is_away_holds_up_nothing_and_hears_later(broker, heard):
    port, start = broker
    told = []
    began = time.monotonic()
    notifier = MqttNotifier(f"mqtt://127.0.0.1:{port}/alarms", told.append)
    assert time.monotonic() - began < 1
    until(lambda: told)
    assert told == [f"the MQTT broker 127.0.0.1:{port} cannot be reached (Connection refused): trying again"]
    start()
    messages = heard(port, "alarms")
    notifier(event())
    until(lambda: messages, seconds=30)
    notifier.close()
    assert told[1:] == [f"the MQTT broker 127.0.0.1:{port} is there"]


@pytest.mark.parametrize(
    "url", ["mqtt://host", "mqtt:///topic", "http://host/topic", "mqtt://host:70000/topic", "mqtt://u:secret@host/a/#"]
)
def test_what_is_no_broker(url):
    with pytest.raises(InputError, match="is no broker and topic") as caught:
        MqttNotifier(url, print)
    assert "secret" not in str(caught.value)


STREAM = ("stream", "--model", "copy", "-q", "--json")


def ufa(*arguments):
    command = [sys.executable, "-m", "ufafuse", *STREAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done, json.loads(done.stdout)


def test_the_command_line_rings_logs_and_ends_with_one(tmp_path):
    log, heard = tmp_path / "frames.jsonl", tmp_path / "heard"
    done, summary = ufa(
        "--near", "sim:?size=240x320&count=60&hand=1:5", "--far", "sim:?size=240x320&count=60", "--log", str(log),
        "--alarm", "brightness<0.2 for 500ms", "--alarm", "frozen>=50", "--on-alarm", f"echo $UFAFUSE_STATE >> {heard}",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    pytest.importorskip("jsonschema").validate(summary, schema_of("stream"))
    assert summary["error"] == "there was an alarm: brightness<0.2 for 500ms."
    assert [(alarm["count"], alarm["on"]) for alarm in summary["alarms"]] == [(1, True), (0, False)]
    assert "alarm: brightness<0.2 for 500ms (brightness is 0.0" in done.stderr
    assert heard.read_text() == "on\n"
    assert (summary["log"], f"wrote {log}" in done.stderr) == (str(log), True)
    assert len(log.read_text().splitlines()) == summary["written"]


def test_an_alarm_that_is_named_twice_rings_once():
    assert alarms_from(["usual", "usual", "sharp<0.5", "sharp<0.5"]) == alarms_from(["usual", "sharp<0.5"])


def test_the_command_line_refuses_before_it_runs(tmp_path, capsys):
    for arguments, said in [
        (["--threads", "2"], "--threads is of a network's engine, and --model copy has none"),
        (["--no-cache", "--pin"], "--cache is of a network's engine"),
        (["--queue", "2000"], "--queue 2000 is too many"),
        (["--alarm", "sharp"], "--alarm sharp cannot be read"),
        (["--on-alarm", "true"], "--on-alarm and --mqtt tell of alarms: say with --alarm which"),
        (["--alarm", "usual", "--mqtt", "nowhere"], "is no broker and topic"),
        (["--log", str(tmp_path)], "exists"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main([*STREAM, "--near", "sim:", "--far", "sim:", "--frames", "1", *arguments])
        shown = capsys.readouterr()
        assert ended.value.code == 2, shown.err
        assert said in json.loads(shown.out)["error"]
