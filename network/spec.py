"""The description of a network: which blocks, how wide, how many scales. No torch here.

One `Spec` describes one variant of the family; everything that depends on the shape of a network (its stride, how far
it sees, how many numbers its averages are) is computed from it, so that no other file has to know a variant by name.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from ufafuse.runtime.errors import InputError, ModelError

Head: TypeAlias = Literal["reconstruct", "select"]
Attention: TypeAlias = Literal["both", "none", "no_spatial", "no_channel"]

HEADS = ("reconstruct", "select")
ATTENTIONS = ("both", "none", "no_spatial", "no_channel")
AROUND = 2  # pixels beyond a cell of folded pixels that its first features are made of
_LARGEST, _MOST_SCALES, _MOST_PARAMETERS = 4096, 12, 10**9  # of what a model file may ask this machine to build
OCTAVES = (2, 8)  # pixels: a network that gathers weighs detail below the first, between the two and above the second apart
SPATIAL_KERNEL = 7  # the paper's f7x7 of the spatial attention, Eq. 8


def seen(fold: int) -> int:
    """Side of the window, in pixels, that the features of one cell of fold x fold pixels are made of."""
    return fold + 2 * AROUND


def first_kernel(fold: int) -> int:
    """Side of the convolution that reads fold x fold pixels as one; without folding, and at coarser scales, it is 3x3."""
    return 3 if fold == 1 else seen(fold)


@dataclass(frozen=True)
class Spec:
    """One network of the family.

    Scales are numbered from the finest; every scale has half the resolution of the one before it.

    Attributes:
        name: the variant's name in tables, manifests and `--model`.
        widths: feature channels per scale.
        fold: the finest scale has 1/fold of the image's resolution (the first convolution has this stride, and sees
            `AROUND` pixels beyond each cell; without folding it is 3x3).
        encoder_blocks: 3x3 convolutions with LeakyReLU per scale (FEB); the first of every coarser scale halves the
            resolution.
        decoder_blocks: 3x3 convolutions with LeakyReLU per scale after the fusion (ICB, without the head).
        head: "reconstruct" (the picture comes out of the last convolution) or "select" (it weighs the two frames and
            adds a residual).
        attention: "both", or one of the paper's ablations (Table IV).
        symmetric: the two frames are treated alike by construction, so their order does not matter.
        residual: a selecting head adds a learnt residual to the weighed frames.
        detail: a selecting head is told, pixel by pixel, which frame is the more extreme one (`ufafuse.network.blocks.Detail`).
        gathers: the network sees every frame of a stack by itself, twice, and keeps sums and maxima between
            (`ufafuse.network.stacknet.StackNet`): any number of frames in the same memory.
    """

    name: str
    widths: tuple[int, ...]
    fold: int
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    head: Head
    attention: Attention = "both"
    symmetric: bool = False
    residual: bool = True
    detail: bool = False
    gathers: bool = False

    def __post_init__(self) -> None:
        """Refuse a description that is no network (`ModelError`)."""
        self._check_types()
        if problem := self._wrong_scales() or self._wrong_kind() or self._too_large():
            raise ModelError(f"network description of {self.name[:80]!r}: {problem}.")

    def _too_large(self) -> str:
        if self.parameters > _MOST_PARAMETERS:
            return f"it would have {self.parameters:.3g} parameters, of at most {_MOST_PARAMETERS:.0e}"
        return ""

    def _check_types(self) -> None:
        """Refuse what a crafted file may say (`ModelError`)."""
        numbers = (*self.widths, *self.encoder_blocks, *self.decoder_blocks, self.fold)
        switches = (self.symmetric, self.residual, self.detail, self.gathers)
        if not all(type(n) is int and n <= _LARGEST for n in numbers) or len(self.widths) > _MOST_SCALES:
            raise ModelError(
                f"network description: up to {_MOST_SCALES} scales, in whole numbers up to {_LARGEST}, are possible."
            )
        if not (isinstance(self.name, str) and all(isinstance(switch, bool) for switch in switches)):
            raise ModelError("network description: the name is a text, the switches are true or false.")

    def _wrong_scales(self) -> str:
        scales = len(self.widths)
        if not scales or len(self.encoder_blocks) != scales or len(self.decoder_blocks) != scales:
            return f"widths, encoder_blocks and decoder_blocks need one number per scale, got {self}"
        if min(self.widths) < 1 or self.fold < 1 or min(self.encoder_blocks) < 1 or min(self.decoder_blocks) < 0:
            return f"widths, fold and encoder_blocks must be at least 1, got {self}"
        if min((1, *self.decoder_blocks[:-1])) < 1:
            return f"every scale but the coarsest needs a decoder block to join the coarser ones, got {self}"
        if self.gathers and self.stride % OCTAVES[-1]:
            return f"a network that gathers splits octaves of {OCTAVES[-1]} pixels, which must divide its stride, {self.stride}"
        return ""

    def _wrong_kind(self) -> str:
        if self.head not in HEADS or self.attention not in ATTENTIONS:
            return f"head must be one of {HEADS} and attention one of {ATTENTIONS}, got {self}"
        if self.symmetric and self.head != "select":
            return "a symmetric network scores its frames: its head must be 'select'"
        if self.detail and (not self.symmetric or self.residual):
            return "detail only decides between frames that are treated alike: symmetric, without a residual"
        if self.gathers and not (self.detail and self.attention == "no_channel"):
            return "a network that gathers has the spatial attention alone, and detail"
        if self.symmetric and not self.gathers and any(width % 2 for width in self.widths):
            return f"a symmetric network gives each frame half the channels: widths must be even, got {self.widths}"
        return ""

    @property
    def stride(self) -> int:
        """Sizes are padded inside the network to multiples of this; exact tiles start at multiples of it."""
        return int(self.fold * 2 ** (len(self.widths) - 1))

    @property
    def spatial(self) -> bool:
        """Whether the spatial attention is there."""
        return self.attention in ("both", "no_channel")

    @property
    def channel(self) -> bool:
        """Whether the channel attention is there."""
        return self.attention in ("both", "no_spatial")

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        return self._gathering_parameters() if self.gathers else self._pair_parameters()

    def _gathering_parameters(self) -> int:
        total, before, cells = 0, 3, self.fold**2
        for scale, width in enumerate(self.widths):
            kernel = first_kernel(self.fold if scale == 0 else 1)
            total += before * width * kernel**2 + width + 2 * SPATIAL_KERNEL**2
            total += (self.encoder_blocks[scale] - 1 + self.decoder_blocks[scale]) * (9 * width**2 + width)
            coarser = self.widths[scale + 1] if scale + 1 < len(self.widths) else 0
            total += width * (width + 1) + 2 * width**2 + coarser * width
            before = width
        width = self.widths[0]
        total += 9 * width * cells + (9 * width + 1) * (len(OCTAVES))
        return total + cells * (3 * (cells + seen(self.fold) ** 2) + width + 1)

    def _pair_parameters(self) -> int:
        total, before = 0, 3
        for scale, width in enumerate(self.widths):
            kernel = first_kernel(self.fold if scale == 0 else 1)
            total += before * width * kernel**2 + width
            total += (self.encoder_blocks[scale] - 1) * (9 * width**2 + width)
            total += 2 * SPATIAL_KERNEL**2 if self.spatial else 0
            total += self._joint(2 * width, width, 1)
            if self.decoder_blocks[scale]:
                coarser = self.widths[scale + 1] if scale + 1 < len(self.widths) else 0
                total += self._joint(coarser, width, 1) if coarser else 0
                total += self._joint((2 if coarser else 1) * width, width, 9)
                total += (self.decoder_blocks[scale] - 1) * self._joint(width, width, 9)
            before = width
        cells = self.fold**2
        colours = 3 * cells if self.head == "reconstruct" or self.residual else 0
        scores = cells if self.head == "select" else 0
        if self.detail:
            total += cells * (3 * (cells + seen(self.fold) ** 2) + self.widths[0] // 2 + 1)
        if self.symmetric:
            return total + (colours + scores) * self.widths[0] // 2 * 9 + colours
        return total + (colours + scores) * (self.widths[0] * 9 + 1)

    def _joint(self, channels_in: int, channels_out: int, pixels: int) -> int:
        """Parameters of a convolution over both frames' features; tied, it has half the weights and half the biases."""
        ties = 2 if self.symmetric else 1
        return (channels_in * channels_out * pixels + channels_out) // ties

    @property
    def halo(self) -> int:
        """How many pixels away an input pixel can change an output pixel, the global averages aside.

        A tile cut with this margin, and given the whole frame's averages, comes out as in the whole frame.
        """
        return self._reach(SPATIAL_KERNEL // 2 if self.spatial else 0)

    @property
    def score_halo(self) -> int:
        """As `halo`, of a network that gathers, where what was gathered of the whole frame is given."""
        return self._reach(0)

    @property
    def encode_halo(self) -> int:
        """How many pixels away an input pixel can change a feature or its attention, of a network that gathers."""
        reach = 0
        for scale in range(len(self.widths)):
            margin = SPATIAL_KERNEL // 2
            low, high = self._encoded(scale, -margin, margin, [(0, 0)] * len(self.widths))
            reach = max(reach, -low, high - self.fold * 2**scale + 1)
        return reach

    def _reach(self, margin: int) -> int:
        reach = 0
        for pixel in range(self.stride):
            low, high = self._needs(pixel, margin)
            reach = max(reach, pixel - low, high - pixel)
        return reach

    def _needs(self, pixel: int, margin: int) -> tuple[int, int]:
        """Return the first and last input pixel (along one axis) that output pixel `pixel` depends on.

        `margin` is how many cells around a feature its attention is made of.
        """
        low = high = pixel // self.fold
        if self.gathers:  # the octaves' scores are enlarged, which reads two neighbours
            middle = 2 * pixel + 1 - self.fold  # in halves of a pixel from the middle of the first cell
            low, high = middle // (2 * self.fold), -(-middle // (2 * self.fold))
        low, high = low - 1, high + 1  # the head's convolution
        wanted: list[tuple[int, int]] = []  # per scale: which encoder features
        for blocks in self.decoder_blocks:
            low, high = low - blocks, high + blocks
            wanted.append((low - margin, high + margin))
            low, high = (low - 1) // 2, (high + 1) // 2  # bilinear doubling reads two neighbours
        return self._encoded(len(self.widths) - 1, *wanted[-1], wanted)

    def _encoded(self, coarsest: int, low: int, high: int, wanted: list[tuple[int, int]]) -> tuple[int, int]:
        """Return the input pixels behind cells `low` to `high` of a scale, and behind those `wanted` of the finer ones."""
        for scale in range(coarsest, 0, -1):
            low, high = low - self.encoder_blocks[scale] + 1, high + self.encoder_blocks[scale] - 1
            low, high = 2 * low - 1, 2 * high + 1  # the convolution that halves the resolution
            low, high = min(low, wanted[scale - 1][0]), max(high, wanted[scale - 1][1])
        low, high = low - self.encoder_blocks[0] + 1, high + self.encoder_blocks[0] - 1
        around = (first_kernel(self.fold) - self.fold) // 2
        return self.fold * low - around, self.fold * (high + 1) - 1 + around  # the first convolution, stride `fold`

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON-ready values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Spec":
        """Build a description from `to_dict()`'s values; `ModelError` where they are not one."""
        if "rival" in values:
            return rival_spec(values["rival"], values.get("form", ""))
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ModelError(
                f"network description: unknown entries {sorted(unknown)}. It was made by a newer ufafuse: update it."
            )
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        try:
            return cls(**plain)
        except TypeError as error:
            raise ModelError(f"network description is incomplete or malformed: {dict(values)} ({error}).") from error


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        # The paper's network, Table II.
        Spec("ufa", widths=(64,), fold=1, encoder_blocks=(7,), decoder_blocks=(3,), head="reconstruct"),
        # For the line: sees 97 pixels and costs a forty-fifth. Coarser scales, trained, did not change the PSNR.
        Spec(
            "ufa-edge",
            widths=(16, 32, 48),
            fold=2,
            encoder_blocks=(2, 2, 2),
            decoder_blocks=(4, 2, 2),
            head="select",
            symmetric=True,
            residual=False,
            detail=True,
        ),
        # The smallest: its finest scale is a quarter of the image.
        Spec(
            "ufa-nano",
            widths=(24, 32),
            fold=4,
            encoder_blocks=(2, 2),
            decoder_blocks=(3, 1),
            head="select",
            symmetric=True,
            residual=False,
            detail=True,
        ),
        # Trained on nothing but what is free for any use: three scales from a quarter, of widths that fill a CPU's vectors.
        Spec(
            "ufa-free",
            widths=(32, 48, 64),
            fold=4,
            encoder_blocks=(2, 2, 2),
            decoder_blocks=(2, 1, 1),
            head="select",
            attention="no_channel",
            symmetric=True,
            residual=False,
            detail=True,
        ),
        # For stacks: sees 300 pixels, all frames at once, in two passes over them.
        Spec(
            "ufa-stack",
            widths=(32, 48, 64, 64),
            fold=4,
            encoder_blocks=(2, 2, 2, 2),
            decoder_blocks=(2, 1, 1, 1),
            head="select",
            attention="no_channel",
            symmetric=True,
            residual=False,
            detail=True,
            gathers=True,
        ),
    )
}


@dataclass(frozen=True)
class RivalSpec(Spec):
    """A network that the paper compares with (`ufafuse.network.rivals`): its name says what it is made of.

    Attributes:
        form: of a network that its paper gives in two sizes, which.
        reach: how many pixels away an input pixel can change an output pixel.
        count: how many numbers are learnt.
        averages: whether it averages over the whole frame.
    """

    form: str = ""
    reach: int = 0
    count: int = 0
    averages: bool = False

    def __post_init__(self) -> None:
        """Take it as it is: none is described but in `RIVALS`."""

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        return self.count

    @property
    def halo(self) -> int:
        """How many pixels away an input pixel can change an output pixel."""
        return self.reach

    @property
    def channel(self) -> bool:
        """Whether it averages over the whole frame."""
        return self.averages

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON-ready values."""
        return {"rival": self.name, "form": self.form}


def _rival(
    name: str, width: int, count: int, reach: int, *, fold: int = 1, form: str = "", averages: bool = False
) -> RivalSpec:
    return RivalSpec(
        name, (width,), fold, (1,), (1,), "reconstruct", "none", form=form, reach=reach, count=count, averages=averages
    )


# Of each the forms that its paper gives, the one that we train first.
RIVALS: dict[str, tuple[RivalSpec, ...]] = {
    forms[0].name: forms
    for forms in (
        (
            _rival("rival-cnn", 256, 435_202, 20, fold=2, form="slight"),
            _rival("rival-cnn", 256, 8_759_042, 20, fold=2, form="full"),
        ),
        (_rival("rival-pcnn", 64, 77_923, 16),),
        (_rival("rival-deepfuse", 32, 88_961, 12),),
        (_rival("rival-densefuse-add", 64, 74_193, 8),),
        (_rival("rival-densefuse-l1", 64, 74_193, 9),),
        (_rival("rival-ifcnn", 64, 83_587, 5),),
        (_rival("rival-sesf", 64, 75_217, 10, averages=True),),
        (_rival("rival-drpl", 48, 1_062_097, 26, fold=4),),
        (_rival("rival-mffgan", 128, 42_529, 5),),
    )
}


def rival_spec(name: object, form: object = "") -> RivalSpec:
    """Return a rival in one of its forms, by default the first; `ModelError` where a file names what is not known."""
    found = [spec for spec in RIVALS.get(str(name), ()) if form in ("", spec.form)]
    if not found:
        raise ModelError(f"there is no rival {str(name)[:80]!r} of form {str(form)[:80]!r}: known are {', '.join(RIVALS)}.")
    return found[0]


def find_spec(name: str) -> Spec:
    """Return the variant called `name`; `InputError` naming the known ones where there is none."""
    if name in RIVALS:
        return RIVALS[name][0]
    if name not in SPECS:
        raise InputError(f"variant {name!r} is unknown. Known variants: {', '.join([*SPECS, *RIVALS])}.")
    return SPECS[name]
