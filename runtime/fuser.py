"""`Fuser`: two frames of one scene at different focus in, one that is sharp everywhere out."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ufafuse.runtime import values
from ufafuse.runtime.arrays import Array
from ufafuse.runtime.bayer import demosaiced
from ufafuse.runtime.blacks import BYTES_LIFTED, held_between, lifted
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.checks.result import check_between
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.fixed import check_size, fixed_size, not_one_at_a_time, not_the_whole
from ufafuse.runtime.frames import BGR_BYTES, FrameKind, check_out
from ufafuse.runtime.fusion import Fusion, PairTrials
from ufafuse.runtime.levels import GIVEN, OF_MOSAICS, Levels, check_asked, kind_of_known, kind_with_levels, white_of_mosaics
from ufafuse.runtime.memory.budget import Budget, TilingChoice, Trials
from ufafuse.runtime.memory.malloc import return_freed
from ufafuse.runtime.memory.tiled import TiledModel, layout_for
from ufafuse.runtime.memory.tiling import Grid
from ufafuse.runtime.models import model_path
from ufafuse.runtime.packing import pack, unpack, with_beyond
from ufafuse.runtime.precision import preferred_precision
from ufafuse.runtime.session import Fused, Session, SessionOptions, check_fused, open_session
from ufafuse.runtime.values import check_value, is_path, is_switch, is_whole

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from numpy.typing import NDArray

    from ufafuse.runtime.stacks.model import StackModel


class Fuser:
    """Fuses frames of any kind with one loaded model. Safe to use from several threads.

    Args:
        model: A bundled network's name, a model file (`ufafuse.runtime.kinds.RUNNABLE`), or nothing for the default network.
        backend: One of `ufafuse.runtime.session.BACKENDS`: ``"auto"`` takes what runs the file, and is here.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``; None: see ``prefer``.
        prefer: ``"quality"`` (the backend takes the fastest float arithmetic of this machine) or ``"speed"`` (int8 where a
            bundled network has it and the machine gains by it), see `ufafuse.runtime.precision`.
        threads: CPU threads; None: the backend chooses.
        pin: Bind each of them to a core.
        streams: Pairs that are fused at once by as many threads, which share the cores; None: one pair with all cores, until
            several threads are seen to use this object at once.
        provider: ONNX Runtime's execution provider: ``"cpu"``, ``"cuda"`` or ``"tensorrt"``.
        max_memory: What this process may hold at its peak, in MB (10^6 bytes, within 15 %): larger frames are fused in
            tiles, with the same result. Nothing means what the system has left. One frame is fused at a time under it.
        tile: ``"auto"``, ``"off"``, or the side of a tile in pixels.
        cache: Keep what the engine compiles in ``$UFAFUSE_CACHE`` (``~/.cache/ufafuse``), where it can: the next process that
            fuses frames of this size starts faster.
        self_test: Fuse a packed reference pair first, see `ufafuse.runtime.checks.selftest`.

    Raises:
        InputError, ModelError, BackendError: As `open_session`; InputError for a budget that cannot be kept.
        CheckFailed: The self-test's result is not what it should be.

    Example:
        >>> fused = Fuser().fuse(cv2.imread("near.png"), cv2.imread("far.png"))
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        backend: str = "auto",
        precision: str | None = None,
        prefer: str = "quality",
        threads: int | None = None,
        pin: bool = False,
        streams: int | None = None,
        provider: str = "cpu",
        max_memory: float | None = None,
        tile: TilingChoice = "auto",
        cache: bool = True,
        self_test: bool = False,
    ) -> None:
        check_value("model", model, is_path, optional=True)
        check_value("self_test", self_test, is_switch)
        self.choice = preferred_precision(model, backend=backend, asked=precision, prefer=prefer)
        self.model = model_path(model, precision=self.choice.precision)
        self._options = SessionOptions(
            self.choice.precision, threads, provider, pin, lean=max_memory is not None, streams=streams, cache=cache
        )
        self._budget = Budget(tile, max_memory)
        if max_memory is not None:
            return_freed()
        self.session: Session = open_session(self.model, backend=backend, options=self._options)
        if self.session.on_device:
            self._leave_memory_to_the_engine(tile)
        self._check_fixed(tile)
        self._tiled: TiledModel | None = None
        self._stack: StackModel | None = None
        self._closed = False
        self._opening = threading.Lock()
        if self_test:
            self._test_itself()

    @property
    def backend(self) -> str:
        """The engine in use."""
        return self.session.backend

    @property
    def precision(self) -> str:
        """The arithmetic in use, such as ``"fp32"`` or ``"int8+fp32"``."""
        return self.session.precision

    @property
    def why(self) -> str:
        """The reasons for this backend and this arithmetic in a few words."""
        return "; ".join(filter(None, (self.session.why, self.choice.why)))

    def __repr__(self) -> str:
        return f"Fuser({self.model.name!r}, backend={self.backend!r}, precision={self.precision!r})"

    @cached_property
    def threads(self) -> int:
        """How many threads the work beside the network may take: as many as were asked for, or the cores at hand.

        Seen once, as the engine does: a look at the control groups takes as long as a hundredth of a pair.
        """
        return self._options.threads or usable_cores()

    @property
    def weighs(self) -> bool:
        """Whether the model only weighs the frames, so that each sample of the result lies between theirs."""
        manifest = self.session.manifest
        return manifest.io == "float" and manifest.spec.get("head") == "select" and manifest.spec.get("residual") is False

    def prepare(self, size: tuple[int, int], *, want_map: bool = False, kind: FrameKind | None = None) -> None:
        """Make the engine ready for whole frames of this (height, width): the first pair will not wait for that.

        Under a memory budget, or where tiles were asked for, nothing is done: which windows come is found with the first pair.

        Args:
            size: Height and width.
            want_map: The map will be asked for, which takes another network than the fused picture alone.
            kind: What they are, see `shown`; None: 8-bit colour, whatever light spills into its black.

        Raises:
            InputError: It is no size, or none that the model takes.
            BackendError: The engine failed.
        """
        size = values.check_size(size)
        check_size(self.model, self.session.manifest, size)
        if self.surely_whole(size):
            for way in self._ways_of(kind, want_map=want_map):
                self.session.prepare(size, **way)

    def prepared(self, size: tuple[int, int], *, want_map: bool = False, kind: FrameKind | None = None) -> bool:
        """Whether `prepare` would have nothing to do. Raises: InputError as `prepare`."""
        size = values.check_size(size)
        ways = self._ways_of(kind, want_map=want_map)
        return not self.surely_whole(size) or all(self.session.prepared(size, **way) for way in ways)

    def _ways_of(self, kind: FrameKind | None, *, want_map: bool) -> list[dict[str, bool]]:
        """The ways in which `_whole` runs the session for frames of this kind."""
        kinds = [kind] if kind is not None else [BGR_BYTES, BYTES_LIFTED] if self._lifts else [BGR_BYTES]
        return [{"want_map": want_map or each.beyond, "floats": layout_for(self.session, each) == "float"} for each in kinds]

    @property
    def _lifts(self) -> bool:
        """Whether black is shown to this network otherwise; see `ufafuse.runtime.blacks`."""
        return not self.gathers and self.session.manifest.io == "float"

    def surely_whole(self, size: tuple[int, int], *, frames: int = 1) -> bool:
        """Whether so many frames of this (height, width) are fused whole at once, as far as can be said without measuring.

        Raises: InputError as `prepare`, or for a number of frames that is no whole one.
        """
        check_value("frames", frames, is_whole)
        height, width = values.check_size(size)
        return self._budget.surely_whole((height * frames, width))

    def fuse(
        self,
        near: Array,
        far: Array,
        *,
        order: str = "bgr",
        white: float | None = None,
        bayer: str | None = None,
        out: Array | None = None,
    ) -> Array:
        """Fuse one pair.

        Args:
            near, far: H x W, H x W x 3 or H x W x 4; uint8, uint16 or float32 (beyond 1 too); alike in shape and dtype.
            order: Channel order of colour frames: ``"bgr"`` (OpenCV's) or ``"rgb"``.
            white: The level of white, such as 4095 for 12 bits in uint16; None: it is found, see `ufafuse.runtime.levels`.
            bayer: The pattern of raw frames (H x W): ``"rggb"``, ``"bggr"``, ``"grbg"`` or ``"gbrg"``; the result has colour.
            out: Takes the result; may be ``near`` or ``far``.

        Returns:
            ``out``, or a new frame of the same shape and dtype as the near one (H x W x 3 for raw frames); alpha is the near
            frame's.

        Raises:
            InputError: A frame or an option cannot be used, or the memory budget is too small; the text names it.
            ModelError: Tiles are needed and the model's companions for them are missing.
            BackendError: The engine failed.
        """
        return self.fuse_pair(near, far, order=order, white=white, bayer=bayer, out=out).fused

    def fuse_with_map(
        self, near: Array, far: Array, *, order: str = "bgr", white: float | None = None
    ) -> tuple[Array, NDArray[np.float32] | None]:
        """As `fuse`, and which frame won: H x W float32 in [0, 1], the near frame's weight (None if the model has no map)."""
        result = self.fuse_pair(near, far, order=order, white=white, want_map=True)
        return result.fused, result.map

    def fuse_pair(
        self,
        near: Array,
        far: Array,
        *,
        order: str = "bgr",
        white: float | None = None,
        bayer: str | None = None,
        out: Array | None = None,
        levels: Levels | None = None,
        want_map: bool = False,
        on_tile: OnCount = ignored,
    ) -> Fusion:
        """As `fuse`, with all that is known about the result.

        Args:
            near, far, order, white, bayer, out: As `fuse`.
            levels: Those of a stack that the pair belongs to, which go before ``white``; None: they are found.
            want_map: Give the map too.
            on_tile: Told after each step of a tiled run how many of how many are done.

        Raises:
            As `fuse`.
        """
        check_asked(white, bayer, levels)
        check_value("want_map", want_map, is_switch)
        check_value("on_tile", on_tile, callable)
        white_from = OF_MOSAICS if bayer is not None and white is None else GIVEN
        if bayer is not None:
            white = white_of_mosaics((near, far), white)
            near, far = (
                demosaiced(frame, bayer, order=order, white=white, name=name)
                for frame, name in ((near, "near frame"), (far, "far frame"))
            )
        if levels is None:
            kind, levels = kind_with_levels(
                (near, far), order=order, white=white, white_from=white_from, maps=self.session.manifest.io == "float"
            )
        else:
            kind = kind_of_known(levels, (near, far), order=order)
        check_out(out, kind, near.shape)
        check_size(self.model, self.session.manifest, near.shape[:2])
        if self.session.manifest.io == "uint8" and kind.dtype != np.uint8:
            name = self.model.name
            raise InputError(f"{name} takes 8-bit frames, these are {kind.dtype}: take a file of `ufa export --io float`.")
        kind = self.shown(near, far, kind)
        height, width = near.shape[:2]
        result_bytes = near.nbytes + (4 * height * width if want_map else 0)
        with self._budget.planned((height, width), result_bytes, PairTrials(self.session, self.tiled_model, kind)) as grid:
            if grid is None:
                return self._whole(near, far, kind, out, want_map=want_map)._replace(levels=levels)
            # Tiles read their neighbours' pixels, so the result must not overwrite them.
            separate = out is None or np.may_share_memory(out, near) or np.may_share_memory(out, far)
            fused = np.empty_like(near, order="C") if separate or out is None else out
            weights = np.empty((height, width), np.float32) if want_map else None
            if not self.tiled_model().fuse(near, far, kind, grid, fused, weights, on_tile):
                weights = None
        self.check(fused, near, far, kind)
        if out is not None and separate:
            out[...] = fused
        return Fusion(fused if out is None else out, weights, grid, levels)

    def shown(self, near: Array, far: Array, kind: FrameKind) -> FrameKind:
        """What a pair is, as `kind_with_levels` found it, with what this network is to be shown otherwise."""
        return lifted(near, far, kind) if self._lifts else kind

    def _whole(self, near: Array, far: Array, kind: FrameKind, out: Array | None, *, want_map: bool) -> Fusion:
        session, layout = self.session, layout_for(self.session, kind)
        planes = pack(near, kind, layout), pack(far, kind, layout)
        result = session.run_with_map(*planes) if want_map or kind.beyond else Fused(session.run(*planes), None)
        check_fused(result.fused, planes[0])
        fused = unpack(result.fused, kind, near, layout)
        if kind.beyond and result.map is not None:
            fused = with_beyond(fused, near, far, result.map[0, 0], kind)
        self.check(fused, near, far, kind)
        if out is not None:
            out[...] = fused
        return Fusion(fused if out is None else out, result.map[0, 0] if want_map and result.map is not None else None, None)

    def check(self, fused: Array, near: Array, far: Array, kind: FrameKind) -> None:
        """Refuse a result that an engine computed wrong (`BackendError`); see `check_between`."""
        check_between(fused, near, far, kind, weighs=self.weighs)
        if kind.dtype == np.float32 and self.weighs:
            held_between(fused, near, far)

    def tiled_model(self) -> TiledModel:
        """The model's graphs for tiles, opened on first use. Raises: ModelError when it has none, as `TiledModel.beside`."""
        with self._opening:
            self._check_open()
            if self._tiled is None:
                self._tiled = TiledModel.beside(self.model, self.session, backend=self.backend, options=self._options)
            return self._tiled

    @property
    def gathers(self) -> bool:
        """Whether the network fuses any number of frames by one rule; otherwise stacks are folded pair by pair."""
        return bool(self.session.manifest.extra.get("gathers", False))

    @property
    def memory_limit(self) -> float | None:
        """What this process may hold at its peak, in bytes; None: what the system has left."""
        return self._budget.limit

    def stack_model(self) -> StackModel:
        """The model's graphs for stacks, opened on first use. Raises: as `StackModel.beside`."""
        with self._opening:
            self._check_open()
            if self._stack is None:
                from ufafuse.runtime.stacks.model import StackModel

                self._stack = StackModel.beside(self.model, self.session, backend=self.backend, options=self._options)
            return self._stack

    def planned_stack(self, size: tuple[int, int], state: float, trials: Trials) -> AbstractContextManager[Grid | None]:
        """The windows in which frames of a stack are seen, beside ``state`` bytes; None: whole. Raises: as `Budget.planned`."""
        return self._budget.planned(size, int(state), trials)

    def _leave_memory_to_the_engine(self, tile: TilingChoice) -> None:
        """An engine's memory is the GPU's, and its profile says which frames it takes: nothing is measured or cut unasked."""
        if self._budget.limit is not None:
            self.session.close()
            raise BackendError(
                "`max_memory` bounds this process's own memory, and an engine's lies on the GPU: omit it; the engine's "
                "profile bounds the frames, and a number as `tile` cuts larger ones."
            )
        if tile == "auto":
            self._budget = Budget("off")

    def _check_fixed(self, tile: TilingChoice) -> None:
        """A file of fixed sizes takes whole frames of its own size, one pair at a time: nothing is measured or cut."""
        problem = not_the_whole(self.model, self.session.manifest) or not_one_at_a_time(self.model, self.session.manifest)
        fixed = fixed_size(self.session.manifest) is not None
        if not problem and fixed and (self._budget.limit is not None or isinstance(tile, int)):
            option = "tile" if isinstance(tile, int) else "max_memory"
            problem = (
                f"`{option}` cuts frames into tiles, and {self.model.name} takes frames of one size only: omit it, or take a "
                "model file of free sizes, exported without `static`."
            )
        if problem:
            self.session.close()
            raise InputError(problem)
        if fixed:
            self._budget = Budget("off")

    def _test_itself(self) -> None:
        from ufafuse.runtime.checks.selftest import self_test

        try:
            self_test(self.session, self.model).require()
        except BaseException:
            self.close()
            raise

    def _check_open(self) -> None:
        """Refuse to open further graphs when nobody will close them any more (`BackendError`)."""
        if self._closed:
            raise BackendError("the fuser was closed: open it again.")

    def close(self) -> None:
        """Free the engine; may be called twice. What is under way in other threads ends with `BackendError`."""
        with self._opening:
            self._closed = True
            for opened in (self._tiled, self._stack):
                if opened is not None:
                    opened.close()
            self.session.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Fuser holds an engine and cannot be copied or sent to another process: open one there.")

    def __enter__(self) -> Fuser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
