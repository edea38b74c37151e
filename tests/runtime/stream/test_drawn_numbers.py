import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.drawn_numbers import LEAST_HEIGHT, LEAST_WIDTH, draw_number, read_number
from ufafuse.runtime.stream.messages import FAR, NEAR


@settings(deadline=None)
@given(
    number=st.integers(0, 2**32 - 1),
    height=st.integers(LEAST_HEIGHT, 400),
    width=st.integers(LEAST_WIDTH, 500),
    side=st.sampled_from((NEAR, FAR)),
)
def test_a_number_is_read_back(number, height, width, side):
    image = np.full((height, width, 3), 90, np.uint8)
    draw_number(image, number, side)
    assert read_number(image, side) == number
    assert read_number(image, 1 - side) is None


@pytest.mark.parametrize("quality", [60, 95])
def test_a_number_survives_jpeg_and_blur(quality):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    draw_number(image, 123_456_789, FAR)
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert read_number(cv2.GaussianBlur(decoded, (0, 0), 1.0), FAR) == 123_456_789


def test_a_grey_picture_carries_a_number():
    image = np.zeros((100, 200), np.uint8)
    draw_number(image, 7, NEAR)
    assert read_number(image, NEAR) == 7


def test_a_torn_frame_has_no_number(numbered_picture):
    upper, lower = numbered_picture(41, NEAR), numbered_picture(42, NEAR)
    torn = np.vstack([upper[:48], lower[48:]])
    assert read_number(torn, NEAR) is None


def test_an_average_of_both_sides_shows_both_numbers(numbered_picture):
    near, far = numbered_picture(5, NEAR), numbered_picture(9, FAR)
    mean = cv2.addWeighted(near, 0.5, far, 0.5, 0)
    assert (read_number(mean, NEAR), read_number(mean, FAR)) == (5, 9)


def test_a_damaged_row_is_refused(numbered_picture):
    picture = numbered_picture(77, NEAR)
    picture[:, 40:60] = 255 - picture[:, 40:60]
    assert read_number(picture, NEAR) is None


def test_a_picture_without_a_number_has_none():
    assert read_number(np.zeros((100, 200, 3), np.uint8), NEAR) is None
    assert read_number(np.zeros((10, 20, 3), np.uint8), NEAR) is None


def test_too_small_a_picture_is_refused():
    with pytest.raises(InputError, match="too small"):
        draw_number(np.zeros((20, 200, 3), np.uint8), 1, NEAR)
