"""What `ufa train`, the commands below it and `ufa dataset` print with ``--json``, as types; see `ufafuse.commands.results`."""

from typing import Any, TypedDict


class BestJson(TypedDict):
    """The weights that validated best."""

    psnr: float
    ssim: float
    step: int


class _TrainKeysJson(TypedDict):
    ok: bool
    run: str
    steps: int
    seconds: float
    best: BestJson | None
    weights: str


class TrainJson(_TrainKeysJson, total=False):
    """`ufa train`."""

    finished: bool
    warnings: list[str]


class _AblationKeysJson(TypedDict):
    ok: bool
    over: str
    finished: bool
    rows: dict[str, dict[str, float]]
    files: list[str]


class AblationJson(_AblationKeysJson, total=False):
    """`ufa train ablation`."""

    published: dict[str, Any]
    note: str
    warnings: list[str]
    passed_over: list[str]


class EveryJson(TypedDict):
    """`ufa train every`: by network what was trained, how good it is beside the bundled weights, what it waited for."""

    ok: bool
    out: str
    seconds: float
    finished: bool
    networks: dict[str, dict[str, Any]]


class _LoaderKeysJson(TypedDict):
    ok: bool
    variant: str
    images_per_second: float
    workers: int
    unit: str


class LoaderJson(_LoaderKeysJson, total=False):
    """`ufa train loader`."""

    warnings: list[str]


class _DatasetKeysJson(TypedDict):
    ok: bool
    out: str
    photographs: int
    skipped: list[str]


class DatasetJson(_DatasetKeysJson, total=False):
    """`ufa dataset`."""

    pairs: int
    stacks: int
    frames: int
    warnings: list[str]
