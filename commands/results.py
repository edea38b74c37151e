"""What each command prints with ``--json``, as types; `ufa schema COMMAND` gives them as JSON Schema.

One that could not begin (exit code 2) prints ``{"ok": false, "error": TEXT}``. Keys may be added, never renamed.
Times are in milliseconds, sizes (height, width).
"""

from typing import Any, TypedDict

from ufafuse.commands.trainresults import AblationJson, DatasetJson, EveryJson, LoaderJson, TrainJson
from ufafuse.runtime.parameters import Size


class _OutputKeysJson(TypedDict):
    near: str
    far: str
    fused: str
    size: Size | None
    ms: float | None


class BandingJson(TypedDict):
    """Bands of light that were evened: across ``rows`` or ``columns``, how many, and their depth either way, of the level."""

    across: str
    bands: float
    depth: float


class OutputJson(_OutputKeysJson, total=False):
    """One pair or stack of `ufa fuse`."""

    error: str
    warnings: list[str]
    more: list[str]
    white: float
    white_found: str
    seen_as_white: float
    reference: str
    alignment: list[dict[str, Any]]
    crop: list[int]
    gain: list[list[float]]
    tiles: dict[str, Any]
    order: str
    map: str
    confidence: str
    conflicts: str
    disagreement: float
    lights: float
    stark: float
    depth: str
    depth_view: str
    mesh: str
    report: str
    method: str
    smoothing: float
    noise: float
    heights: dict[str, Any]
    order_of_focus: list[str]
    left_out: dict[str, str]
    registered_to: dict[str, str]
    hot_pixels: int
    dust: int
    banding: BandingJson
    restored: list[float]
    strayed: dict[str, float]
    matched: dict[str, list[float]]
    curves: dict[str, list[list[list[float]]]]


class _FuseKeysJson(TypedDict):
    ok: bool
    backend: str
    precision: str
    model: str
    outputs: list[OutputJson]
    failed: int


class FuseJson(_FuseKeysJson, total=False):
    """`ufa fuse`."""

    why: str
    skipped: int
    at_once: int
    seconds: float
    per_second: float
    passed_over: list[str]


class PercentilesJson(TypedDict):
    """Of the latency, from capture to output; None before the first pair."""

    p50: float | None
    p95: float | None
    p99: float | None


class StreamQualityJson(TypedDict):
    """How good the latest result is; lists have a value for each frame, from near to far."""

    sharp: float
    wins: list[float]
    sharpness: list[float]
    exposure: float
    shift: float
    disagreement: float
    frozen: int
    brightness: list[float]


class StreamAlarmJson(TypedDict):
    """An alarm, whether it is on, and how often it began."""

    alarm: str
    on: bool
    count: int


class _StreamKeysJson(TypedDict):
    ok: bool
    backend: str
    frames_in: list[int]
    fused: int
    dropped: int
    unmatched: int
    latency_ms: PercentilesJson
    fps: float
    seconds: float


class StreamJson(_StreamKeysJson, total=False):
    """`ufa stream`."""

    why: str
    precision: str | None
    model: str | None
    outputs: list[str]
    log: str
    events: list[str]
    unmatched_by_side: list[int]
    passed_over: int
    in_doubt: int
    broken: list[int]
    planes: int
    cycle: dict[str, int]
    quality: StreamQualityJson | None
    alarms: list[StreamAlarmJson]
    white: float
    gains: list[list[float] | None]
    error: str


class _MadeKeysJson(TypedDict):
    ok: bool
    artefact: str
    report: str
    precision: str
    verified: dict[str, Any] | None


class MadeJson(_MadeKeysJson, total=False):
    """`ufa export`, `ufa calibrate` and `ufa build`; each adds what it knows of the file."""

    warnings: list[str]
    passed_over: list[str]


class MapDistanceJson(TypedDict):
    """How far the frames mixed by a map lie from those mixed by PyTorch's; ``noise``: how far PyTorch's own is uncertain."""

    max_abs: float
    psnr: float
    finite: bool
    noise: float
    ok: bool


class AveragesDistanceJson(TypedDict):
    """How far a tiling companion's averages lie from PyTorch's."""

    relative: float
    finite: bool
    ok: bool


class _DistanceKeysJson(TypedDict):
    name: str
    size: Size
    max_abs: float | None
    mean_abs: float | None
    psnr: float | None
    ssim: float | None
    finite: bool


class DistanceJson(_DistanceKeysJson, total=False):
    """How far one result lies from PyTorch's: levels of 255 and dB."""

    ok: bool
    noise: float
    map: MapDistanceJson
    averages: AveragesDistanceJson


class _VerifyKeysJson(TypedDict):
    ok: bool
    artefact: str
    reference: str
    pairs: list[DistanceJson]
    worst: dict[str, Any]
    tolerance: dict[str, Any]


class VerifyJson(_VerifyKeysJson, total=False):
    """`ufa verify`; ``pairs``, ``worst`` and ``tolerance`` are those of ``backend``, all engines' are in ``backends``."""

    backend: str
    precision: str
    backends: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    layers: dict[str, Any]
    bisect: dict[str, Any]
    pair: str
    warnings: list[str]
    passed_over: list[str]
    companions: list[str]


class _ScoreKeysJson(TypedDict):
    name: str
    method: str
    metrics: dict[str, float | None]


class ScoreJson(_ScoreKeysJson, total=False):
    """One picture of `ufa eval`; a metric that is not defined is null."""

    ms: float
    note: str
    error: str


class _ScoredStackKeysJson(TypedDict):
    name: str
    frames: int
    size: Size
    align: str
    reference: str


class ScoredStackJson(_ScoredStackKeysJson, total=False):
    """How one stack of `ufa eval --stacks` was prepared."""

    warnings: list[str]


class _EvalKeysJson(TypedDict):
    ok: bool
    rows: list[ScoreJson]
    mean: dict[str, dict[str, float | None]]


class _TableRowKeysJson(TypedDict):
    method: str
    source: str
    what: str
    metrics: dict[str, float]


class EvalTableRowJson(_TableRowKeysJson, total=False):
    """A row of one of the paper's tables, printed there or scored here."""

    time_s: float
    note: str


class EvalTableJson(TypedDict):
    """One of the paper's tables with what was scored, whether over the same pairs or others."""

    number: str
    same_pairs: bool
    rows: list[EvalTableRowJson]


class EvalJson(_EvalKeysJson, total=False):
    """`ufa eval`."""

    failed: int
    networks: dict[str, dict[str, Any]]
    kinds: dict[str, str]
    table: EvalTableJson
    stacks: list[ScoredStackJson]
    warnings: list[str]
    passed_over: list[str]
    files: list[str]


class _BackendKeysJson(TypedDict):
    available: bool


class BackendJson(_BackendKeysJson, total=False):
    """One engine of `ufa info`."""

    version: str | None
    why_not: str


class _InfoKeysJson(TypedDict):
    ok: bool
    version: str
    machine: dict[str, Any]
    backends: dict[str, BackendJson]


class InfoJson(_InfoKeysJson, total=False):
    """`ufa info`."""

    opencv: dict[str, Any]
    artefact: dict[str, Any]
    self_test: dict[str, Any]


class _ServeKeysJson(TypedDict):
    ok: bool
    url: str
    models: list[str]
    fused: int
    seconds: float


class ServeJson(_ServeKeysJson, total=False):
    """`ufa serve`, when it has ended."""

    error: str


class ModelJson(TypedDict):
    """A bundled network; what it learnt from, and whether all of that is free for any use; bytes by precision."""

    name: str
    default: bool
    purpose: str
    data: str
    free: bool
    bytes: dict[str, int]


class ModelsJson(TypedDict):
    """`ufa models`."""

    ok: bool
    models: list[ModelJson]


# `ufa bench` has a schema of its own, which its file is held against: `benchmarks/speed/schema.json`.
RESULTS: dict[str, type] = {
    "fuse": FuseJson,
    "stream": StreamJson,
    "train": TrainJson,
    "train ablation": AblationJson,
    "train every": EveryJson,
    "train loader": LoaderJson,
    "dataset": DatasetJson,
    "export": MadeJson,
    "calibrate": MadeJson,
    "build": MadeJson,
    "verify": VerifyJson,
    "eval": EvalJson,
    "info": InfoJson,
    "models": ModelsJson,
    "serve": ServeJson,
}
