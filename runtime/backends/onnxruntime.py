"""ONNX Runtime: the engine that runs anywhere; on NVIDIA GPUs through its CUDA and TensorRT providers."""

import os
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.ort_layers import layers_of
from ufafuse.runtime.backends.ort_providers import check_built_in, check_provider, provider_list
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.cgroup import cpu_quota
from ufafuse.runtime.cores import allowed_cores, usable_cores
from ufafuse.runtime.errors import NO_THREADS, BackendError, InputError, ModelError, lacks_threads
from ufafuse.runtime.layers import Layer
from ufafuse.runtime.session import Session, SessionOptions, check_given, check_tensors
from ufafuse.runtime.texts import usable_by_c

_ERRORS_ONLY = 3
_AFFINITIES = "session.intra_op_thread_affinities"
_SPINNING = "session.intra_op.allow_spinning"
_SHRINKAGE = "memory.enable_memory_arena_shrinkage"


class OnnxRuntimeSession(Session):
    """An ONNX file on ONNX Runtime. The arithmetic is the file's own: it has no bf16 for a float32 graph.

    ``provider`` is the one in use or an error; ``pin`` binds each thread to a core; ``lean`` gives the arena's memory back
    after every run. Several threads share one pool of threads; with ``streams`` each run has its share of them to itself.
    """

    backend = "onnxruntime"

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse another precision than the file's own, and a provider that the installed package lacks."""
        if options.precision not in (None, manifest.precision):
            raise BackendError(
                f"ONNX Runtime runs {model.name} as {manifest.precision}, not {options.precision}: "
                f"give a file of that precision, or `backend=openvino` for bf16."
            )
        check_built_in(options.provider)

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self.manifest = manifest
        self.why = why if options.provider == "cpu" else f"{why}; {options.provider} provider"
        self.precision = manifest.precision
        self._model, self._options = model, options
        self._session: Any = self._opened(_settings(options))
        self._free = self._shared_out(options)
        check_provider(self._session, options.provider)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        check_tensors(model, manifest, self._inputs, self._outputs)
        self._run_options = ort.RunOptions()
        if options.lean:
            self._run_options.add_run_config_entry(_SHRINKAGE, "cpu:0")

    def _opened(self, settings: ort.SessionOptions) -> Any:  # noqa: ANN401 - onnxruntime ships no types
        kept = self._model if self._options.cache else None
        providers = provider_list(self._options.provider, precision=self.manifest.precision, model=kept)
        try:
            # Without a fallback, or a provider that cannot load the file is replaced by the CPU, with a word on stdout.
            session = ort.InferenceSession(usable_by_c(str(self._model)), settings, providers=providers, enable_fallback=0)
        except InputError:
            raise
        except Exception as error:  # what it raises has no base class of its own
            if self._options.provider != "cpu":
                where = f"{self._model} on the {self._options.provider} provider"
                raise BackendError(f"ONNX Runtime cannot run {where}: {_first_line(error)}") from error
            raise ModelError(f"ONNX Runtime cannot load {self._model}: {_first_line(error)}") from error
        session.disable_fallback()  # the same of a run, and older releases do not know that argument
        return session

    def _shared_out(self, options: SessionOptions) -> queue.SimpleQueue[Any] | None:
        """The sessions that runs take in turn, where several at once were asked for; None: the one serves all.

        With one thread each, runs keep to the threads that call them, and one session serves any number of these.
        """
        if (options.streams or 1) == 1 or _threads_each(options) == 1 or options.provider != "cpu":
            return None
        if options.pin:
            raise BackendError(
                "ONNX Runtime would bind the threads of all streams to the same cores: omit pinning or `streams`."
            )
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        free.put(self._session)
        for _ in range((options.streams or 1) - 1):
            free.put(self._opened(_settings(options)))
        return free

    def layers(
        self,
        inputs: dict[str, NDArray[Any]],
        *,
        runs: int,
        only_fused: bool = False,  # noqa: ARG002 - it always computes all of its results
        before: Callable[[], None] = ignored,
    ) -> list[Layer]:
        """The time of each node; see `Session.layers`.

        Raises:
            BackendError: Also on a GPU, where the counters tell how long it takes to launch a kernel, and not to run it.
        """
        if self._options.provider != "cpu":
            raise BackendError(
                f"ONNX Runtime's counters time the launches of the {self._options.provider} provider's kernels, not the "
                "kernels: profile an engine instead (`ufa build`)."
            )

        def open_with(prefix: str) -> Any:  # noqa: ANN401 - onnxruntime ships no types
            settings = _settings(self._options)
            settings.enable_profiling, settings.profile_file_prefix = True, prefix
            return self._opened(settings)

        return layers_of(open_with, lambda session: self._ran(session, inputs), runs, before)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        session = self._session
        if session is None:
            raise BackendError("the session was closed: open it again.")
        free = self._free
        if free is None:
            return dict(zip(self._outputs, self._ran(session, inputs), strict=True))
        session = free.get()
        try:
            return dict(zip(self._outputs, self._ran(session, inputs), strict=True))
        finally:
            free.put(session)

    def _ran(self, session: Any, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:  # noqa: ANN401 - as above
        check_given(inputs, self._inputs)
        try:
            return list(session.run(self._outputs, inputs, self._run_options))
        except Exception as error:  # as above
            raise BackendError(f"ONNX Runtime failed: {_first_line(error)}") from error

    def close(self) -> None:
        """Let go of the model; frames under way are finished first. May be called twice."""
        self._session = self._free = None


def _settings(options: SessionOptions) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    # With it the second run of a size takes one block for all activations, beside those of the first run that the arena
    # keeps: 884 MB instead of 486 MB for ufa-edge at 1080 x 1920, 484 MB instead of 319 MB for ufa at 400 x 400.
    settings.enable_mem_pattern = False
    threads = _threads_each(options) if (options.streams or 1) > 1 else options.threads or _fewer_than_cores()
    if threads is not None:
        settings.intra_op_num_threads = threads
    if cpu_quota() is not None:
        settings.add_session_config_entry(_SPINNING, "0")  # waiting threads would spend what the working ones need
    if options.pin:
        threads, affinities = _affinities(options.threads)
        settings.intra_op_num_threads = threads
        if affinities:
            settings.add_session_config_entry(_AFFINITIES, affinities)
    return settings


def _threads_each(options: SessionOptions) -> int:
    """Of each of the runs at once that were asked for."""
    return max(1, (options.threads or usable_cores()) // (options.streams or 1))


def _fewer_than_cores() -> int | None:
    """The cores that this process may run on, where these are not all: ONNX Runtime itself counts the machine's."""
    cores = allowed_cores()
    return cores if cores < (os.cpu_count() or 1) else None


def _affinities(threads: int | None) -> tuple[int, str]:
    """How many threads, and a core for each of them but the caller's own, as ONNX Runtime wants it (cores from 1)."""
    if not hasattr(os, "sched_getaffinity"):
        raise BackendError("ONNX Runtime can bind threads to cores on Linux only: omit pinning.")
    cores = sorted(os.sched_getaffinity(0))
    count = threads or len(cores)
    return count, ";".join(str(cores[index % len(cores)] + 1) for index in range(1, count))


def _first_line(error: Exception) -> str:
    if lacks_threads(error):
        return f"{NO_THREADS}."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
