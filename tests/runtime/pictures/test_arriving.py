"""Stacks that appear in a folder: given when they are complete, refused when they are not what was asked for."""

import shutil
import threading
import time
from itertools import islice

import pytest

from tests.pictures import put
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures import arriving as watch
from ufafuse.runtime.pictures.arriving import arriving


class TestArriving:
    def test_a_folder_is_complete_when_it_is_quiet(self, tmp_path):
        put(tmp_path / "first", "1.png", "2.png")
        (tmp_path / "empty").mkdir()

        def later():
            for number in range(1, 4):
                put(tmp_path / "second", f"{number}.png")
                time.sleep(0.3)

        writer = threading.Thread(target=later)
        writer.start()
        found = list(islice(arriving(tmp_path, quiet=1.0), 2))
        writer.join()
        assert [(stack.name, len(stack.files)) for stack in found] == [("first", 2), ("second", 3)]

    def test_or_when_it_has_all_its_frames(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png", "3.png")
        (stack,) = islice(arriving(tmp_path, quiet=600, every=3), 1)
        assert [path.name for path in stack.files] == ["1.png", "2.png", "3.png"]

    def test_another_programs_result_is_no_frame(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png", "3.png", "stacked.png")
        for every in (None, 3):
            (stack,) = islice(arriving(tmp_path, quiet=0.2, every=every), 1)
            assert [path.name for path in stack.files] == ["1.png", "2.png", "3.png"]
            assert stack.note == "taken without stacked.png"
        until = time.monotonic() + 1.0
        assert list(arriving(tmp_path, quiet=600, every=4, goes_on=lambda: time.monotonic() < until)) == []

    def test_a_file_that_is_being_written_is_waited_for(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png")
        (tmp_path / "s" / "3.png").touch()
        until = time.monotonic() + 1.5
        assert list(arriving(tmp_path, quiet=0.2, goes_on=lambda: time.monotonic() < until)) == []

    @pytest.mark.parametrize(("count", "mend"), [(2, "some are missing"), (4, "take out"), (6, "take out")])
    def test_another_number_of_frames_than_asked_for_is_refused(self, tmp_path, count, mend):
        put(tmp_path / "s", *(f"{number}.png" for number in range(count)))
        (stack,) = islice(arriving(tmp_path, quiet=0.4, every=3), 1)
        assert (len(stack.files), stack.name) == (count, "s")
        assert f"{tmp_path / 's'} holds {count} frames, and a stack has 3: {mend}" in stack.refused

    def test_frames_that_come_later_are_told_once(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png", "3.png")
        until = time.monotonic() + 2.0
        found = []
        for stack in arriving(tmp_path, quiet=600, every=3, goes_on=lambda: time.monotonic() < until):
            found.append(stack)
            if len(found) == 1:
                put(tmp_path / "s", "4.png")
        assert [bool(stack.refused) for stack in found] == [False, True]
        assert "4.png came after the stack was complete" in found[1].refused

    @pytest.mark.parametrize("seen_gone", [True, False])
    def test_a_folder_that_is_filled_anew_under_its_names_is_told(self, tmp_path, seen_gone):
        put(tmp_path / "s", "1.png", "2.png")
        until = time.monotonic() + 2.5
        found = []

        def anew():
            if seen_gone:
                shutil.rmtree(tmp_path / "s")
                time.sleep(0.6)
                put(tmp_path / "s", "1.png", "2.png")
            else:
                for name in ("1.png", "2.png"):
                    put(tmp_path, f"{name}.new.png")[0].rename(tmp_path / "s" / name)

        writer = threading.Thread(target=anew)
        for stack in arriving(tmp_path, quiet=0.3, goes_on=lambda: time.monotonic() < until):
            found.append(stack)
            if len(found) == 1:
                writer.start()
        writer.join()
        assert [bool(stack.refused) for stack in found] == [False, True]
        assert [path.name for path in found[1].files] == ["1.png", "2.png"]

    def test_a_folder_that_comes_back_as_it_was_is_none(self, tmp_path):
        put(tmp_path / "in" / "s", "1.png", "2.png")
        until = time.monotonic() + 1.8
        found = []

        def away():
            (tmp_path / "in" / "s").rename(tmp_path / "away")
            time.sleep(0.6)
            (tmp_path / "away").rename(tmp_path / "in" / "s")

        writer = threading.Thread(target=away)
        for stack in arriving(tmp_path / "in", quiet=0.2, goes_on=lambda: time.monotonic() < until):
            found.append(stack)
            writer.start()
        writer.join()
        assert [bool(stack.refused) for stack in found] == [False]

    def test_what_lies_in_the_folder_itself_is_told_once(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png")
        put(tmp_path, "b.png", "a.png")
        until, told = time.monotonic() + 1.2, []
        assert len(list(arriving(tmp_path, quiet=0.2, goes_on=lambda: time.monotonic() < until, tell=told.append))) == 1
        assert len(told) == 1
        assert "a.png lies in the watched folder itself" in told[0]

    def test_a_frame_that_is_a_link_to_nowhere_counts(self, tmp_path):
        put(tmp_path / "s", "1.png", "2.png")
        (tmp_path / "s" / "3.png").symlink_to("nowhere")
        (stack,) = islice(arriving(tmp_path, quiet=0.2, every=3), 1)
        assert [path.name for path in stack.files] == ["1.png", "2.png", "3.png"]

    def test_no_folder(self, tmp_path):
        with pytest.raises(InputError, match="is not a folder: make it first"):
            next(arriving(tmp_path / "no"))

    def test_a_folder_that_goes_as_it_is_complete_does_not_end_the_watch(self, tmp_path, monkeypatch):
        put(tmp_path / "gone", "1.png", "2.png")
        put(tmp_path / "stays", "1.png", "2.png")
        complete = watch._complete

        def and_gone(*given):
            found = complete(*given)
            if found and (tmp_path / "gone").exists():
                shutil.rmtree(tmp_path / "gone")
            return found

        monkeypatch.setattr(watch, "_complete", and_gone)
        found = list(islice(arriving(tmp_path, quiet=0.1), 2))
        assert [(stack.name, [path.name for path in stack.files]) for stack in found] == [
            ("gone", ["1.png", "2.png"]), ("stays", ["1.png", "2.png"])
        ]  # fmt: skip
