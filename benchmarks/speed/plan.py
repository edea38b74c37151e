"""What is to be measured: a plan, and the runners that come of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ufafuse.benchmarks.methods import methods
from ufafuse.benchmarks.published import PAPER_SIZE
from ufafuse.benchmarks.speed.hindered import check_asked, check_frames, hindrances
from ufafuse.benchmarks.speed.on_device import DEVICES, found_device, peers_on
from ufafuse.benchmarks.speed.runners import OURS, RunnerSpec
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fixed import fixed_batch, fixed_size
from ufafuse.runtime.kinds import engines_of
from ufafuse.runtime.session import BACKENDS, PRECISIONS

DEFAULT_SIZES = (PAPER_SIZE, (720, 1280), (1080, 1920))
_PEERS = ("torch", "torch.compile", "onnxruntime default", "openvino default")


def sizes_for(artefacts: Sequence[Path]) -> list[tuple[int, int]]:
    """What is measured where no size is asked for: the files' own where they are fixed in all of them, else `DEFAULT_SIZES`."""
    own = [fixed_size(read_manifest(path)) for path in artefacts]
    sizes = list(dict.fromkeys(size for size in own if size is not None))
    return sizes if sizes and None not in own else list(DEFAULT_SIZES)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        artefacts: model files of any format; graphs for tiles and stacks too (``X.encode.onnx``), each by itself.
        sizes: (height, width) each.
        backends: Engines for the sessions; ``("auto",)`` takes every engine that can run the file.
        precisions: Arithmetic of the sessions; empty: the file's own, and bf16 beside fp32.
        threads: CPU threads of everything; None: each engine chooses.
        peers: Also time the network in PyTorch and in the engines' default settings.
        methods: Classical methods, at the first size only.
        seconds: Time for each runner at each size, three runs at least.
        most_runs: ... and at most so many.
        cold: Also start each runner in a process of its own.
        profile: Also count the time of each layer.
        provider: ``"cuda"`` or ``"tensorrt"``: ONNX Runtime's sessions run on a GPU, beside OpenVINO's on the CPU.
        streams: Also measure the pairs a second with so many in flight.
        device: Where the peers of `on_device` run; None: on a GPU where PyTorch sees one, else nowhere.
        batches: Pairs in a run, of the sessions on whole networks and of those peers; none: as many as the file takes, or 1.
    """

    artefacts: list[Path]
    sizes: list[tuple[int, int]] = field(default_factory=lambda: list(DEFAULT_SIZES))
    backends: tuple[str, ...] = ("auto",)
    precisions: tuple[str, ...] = ()
    threads: int | None = None
    peers: bool = True
    methods: tuple[str, ...] = ()
    seconds: float = 10.0
    most_runs: int = 50
    cold: bool = True
    profile: bool = False
    streams: tuple[int, ...] = ()
    provider: str = "cpu"
    device: str | None = None
    batches: tuple[int, ...] = ()

    def check(self) -> None:
        """Before minutes of measuring.

        Raises:
            InputError, ModelError: An option or a file is none that could be measured.
            BackendError: Nothing of what was asked for can run here.
        """
        self._check_values()
        check_frames(self.sizes, max(self.batches, default=1))
        specs = self.specs()
        check_asked(self._asked(specs), hindrances(specs, self.sizes))

    def hindered(self) -> dict[RunnerSpec, str]:
        """What will not be measured here, and why, as far as that can be told beforehand."""
        return hindrances(self.specs(), self.sizes)

    def _check_values(self) -> None:
        for path in self.artefacts:
            read_manifest(path)
        names = [path.name for path in self.artefacts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f"two files to time are called {twice}: rename one, or give it once.")
        unknown = [name for name in self.methods if name not in methods()]
        if unknown:
            raise InputError(f"`methods={unknown[0]}` is not known: choose from {', '.join(methods())}, all or none.")
        wrong = [name for name in self.precisions if name not in PRECISIONS]
        if wrong:
            raise InputError(f"`precision={wrong[0]}` is not known: choose from {', '.join(PRECISIONS)}.")
        if self.device not in (None, *DEVICES):
            raise InputError(f"`device={self.device}` is not known: choose one of {', '.join(DEVICES)}.")
        strange = [name for name in self.backends if name not in BACKENDS]
        if strange:
            raise InputError(f"`backend={strange[0]}` is not known: choose from {', '.join(BACKENDS)}.")

    def specs(self) -> list[RunnerSpec]:
        """Everything that is to be timed, ours first."""
        specs = [
            replace(spec, batch=count)
            for path in self.artefacts
            for spec in self.session_specs(path)
            for count in (self._batches(path) if read_manifest(path).role == "whole" else self._batches(path)[:1])
        ]
        if self.peers:
            specs += [RunnerSpec(kind, str(path), threads=self.threads) for path in self._plain() for kind in _PEERS]
            specs += self._on_device()
        return specs + [RunnerSpec("method", name) for name in self.methods]

    def _asked(self, specs: Sequence[RunnerSpec]) -> Iterator[tuple[str, list[RunnerSpec]]]:
        """The options by which something was asked for, each with what would be measured for it."""
        ours = [spec for spec in specs if spec.group == OURS]
        if self.provider != "cpu":
            yield f"provider={self.provider}", [spec for spec in ours if spec.provider == self.provider]
        on_device = [spec for spec in specs if spec.device is not None]
        if self.device is not None and on_device:
            yield f"device={self.device}", on_device
        if self.precisions:
            yield f"precision={','.join(self.precisions)}", ours
        elif self.backends != ("auto",):
            yield f"backend={','.join(self.backends)}", ours
        else:
            yield f"artefacts={', '.join(path.name for path in self.artefacts)}", ours

    def _on_device(self) -> list[RunnerSpec]:
        device = self.device or found_device()
        return [
            RunnerSpec(kind, str(path), precision=precision, threads=self.threads, device=device, batch=count)
            for path in self._plain()
            for kind, precision in (peers_on(device) if device else ())
            for count in self._batches(path)
        ]

    def _batches(self, path: Path) -> tuple[int, ...]:
        return self.batches or (fixed_batch(read_manifest(path)) or 1,)

    def session_specs(self, path: Path) -> list[RunnerSpec]:
        """The runtime's own sessions that can run a file."""
        kind = read_manifest(path).kind
        engines = engines_of(kind)
        if "openvino" not in engines:  # one engine runs it, or others than the runtime's: another that is asked for will say so
            only = engines[0] if engines else "auto"
            return [
                RunnerSpec("session", str(path), backend, precision, self.threads)
                for precision in self.precisions or (None,)
                for backend in dict.fromkeys(only if backend == "auto" else backend for backend in self.backends)
            ]
        own = read_manifest(path).precision
        every = (engines if backend == "auto" else (backend,) for backend in self.backends)
        backends = dict.fromkeys(backend for some in every for backend in some)
        precisions: tuple[str, ...] = self.precisions or ((own, "bf16") if own == "fp32" else (own,))
        if kind == "openvino" and not self.precisions:  # halves are enlarged on a CPU
            precisions = ("fp32", "bf16")
        return [
            RunnerSpec(
                "session",
                str(path),
                backend,
                precision,
                self.threads,
                provider=self.provider if backend == "onnxruntime" else "cpu",
            )
            for precision in precisions
            for backend in backends
            # ONNX Runtime has no bf16 of a float32 file; that is not worth a line.
            if not (precision == "bf16" and backend == "onnxruntime" and not self.precisions)
        ]

    def _plain(self) -> list[Path]:
        """The files that others can run: whole networks in float32."""
        manifests = {path: read_manifest(path) for path in self.artefacts if path.suffix == ".onnx"}
        return [path for path, found in manifests.items() if found.precision == "fp32" and found.role == "whole"]
