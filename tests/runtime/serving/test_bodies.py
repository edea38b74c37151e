"""Requests of which bytes were changed, cut out or doubled: a picture or a sentence each, and the next one is answered."""

import http.client
import json
import random
import socket

import pytest

COUNT = 60


def mutated(data, chance):
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 300))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 40)]
        elif kind == 2:
            data[at:at] = data[at : at + chance.randrange(1, 40)]
        elif kind == 3:
            data[at : at + 1] = chance.choice((b"\r\n", b"\0", b'"', b"\xff\xff\xff\xff", b"9" * 30, b"-1", b"\r\n--"))
        else:
            del data[max(20, at) :]
        if len(data) < 30:
            break
    return bytes(data)


def tensors(pair):
    """A request with its pixels behind the JSON, and the JSON's length."""
    inputs = [
        {"name": name, "datatype": "UINT8", "shape": list(frame.shape), "parameters": {"binary_data_size": frame.nbytes}}
        for name, frame in zip(("near", "far"), pair, strict=True)
    ]
    text = json.dumps({"id": "1", "inputs": inputs, "outputs": [{"name": "fused"}]}).encode()
    return text, b"".join(frame.tobytes() for frame in pair)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_any_body_ends_in_a_picture_or_a_sentence(small_engine, serve, ask, form, files, pair, seed):
    server = serve(deadline=5)
    count = COUNT if seed == 0 else 20 * COUNT
    chance = random.Random(seed)
    body, kind = form(files, format="png", timeout="5")
    text, pixels = tensors(pair)
    found = set()
    for number in range(count):
        if number % 2:
            sent = mutated(body, chance)
            answer = ask(f"{server.url}fuse", sent, Content_Type=kind if chance.random() < 0.8 else f"{kind[:-3]};x=\u00e4")
        else:
            head = mutated(text, chance) if chance.random() < 0.7 else text
            length = str(len(head) if chance.random() < 0.8 else chance.choice([0, -1, 10**20, "x", "\u0663", len(head) // 2]))
            path = f"{server.url}v2/models/small/infer"
            answer = ask(path, head + pixels, Inference_Header_Content_Length=length.encode().decode("latin-1"))
        found.add(answer.status)
        assert answer.status in (200, 400, 404, 413, 415, 422), (number, answer.status, answer.body[:300])
        if answer.status != 200:
            assert answer.json()["error"].strip()
    assert {200, 400} <= found
    body, kind = form(files)
    assert ask(f"{server.url}fuse", body, Content_Type=kind).status == 200
    assert server.service.admission.active == server.service.admission.bytes == 0


def test_any_bytes_instead_of_http_are_hung_up_on(small_engine, serve, form, files, ask):
    server = serve(deadline=2)
    chance = random.Random(4)
    body, kind = form(files)
    whole = b"POST /fuse HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
        kind.encode(),
        len(body),
    )
    for _ in range(40):
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(mutated(whole, chance) + body[: chance.randrange(len(body))])
            client.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(client)
            try:
                answer.begin()
            except (http.client.HTTPException, OSError):
                continue
            assert answer.status < 500 or answer.status == 504, answer.status
    assert ask(f"{server.url}fuse", body, Content_Type=kind).status == 200
