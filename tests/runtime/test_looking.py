"""When files are looked into for damage."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ufafuse.runtime.looking import Looking
from ufafuse.runtime.memory.usage import resident_bytes
from ufafuse.runtime.pictures.source import FileFrame


class Frame(FileFrame):
    def __init__(self, path, damage, done):
        super().__init__(path)
        self.damage, self.done = damage, done

    def look_inside(self):
        self.done.append(self.name)
        return self.damage


@pytest.fixture
def frames(tmp_path):
    done = []
    made = [Frame(tmp_path / name, damage, done) for name, damage in (("a", ""), ("b", "bits"), ("c", "bits"), ("d", "bits"))]
    with ThreadPoolExecutor(1) as pool:
        for frame in made[:3]:
            Path(frame.name).write_bytes(b"\xff\xd8\xff" + bytes(100_000))
            frame.looker = pool
        yield made, done


@pytest.mark.parametrize("room", [None, 1e9], ids=["beside", "behind"])
def test_what_is_damaged_is_told_once(frames, room):
    made, done = frames
    looking = Looking(made, None if room is None else resident_bytes() + room)
    if room is not None:
        assert done == []  # while memory is measured nothing else takes any
    said = looking.found([f"{made[1].name} is damaged inside (other words)."])
    assert done == [frame.name for frame in made[:3]]
    assert len(said) == 1
    assert next(iter(said)).startswith(f"{made[2].name} is damaged inside (bits)")


def test_what_there_is_no_room_for_is_told(frames):
    made, done = frames
    Path(made[0].name).write_bytes(b"II*\0" + bytes(100_000))  # is looked into in pieces
    said = Looking(made, resident_bytes() + 1_000_000).found([])
    assert done == [made[0].name]
    assert len(said) == 2
    assert all("was not looked into for damage, for which `max_memory` leaves too little" in text for text in said)
