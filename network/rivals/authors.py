"""Weights that a rival's authors published: arrays of any names, fitted by their shapes.

Files are data and nothing else: `.pth` is read by torch's `weights_only`, `.npz` without pickles, `.mat` by SciPy (up to
MATLAB's -v7).
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec as is_installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ufafuse.network.rivals.base import RivalNet
from ufafuse.network.rivals.made import build_rival
from ufafuse.network.spec import RivalSpec
from ufafuse.runtime.errors import BackendError, ModelError

NamedArrays = dict[str, NDArray[Any]]
_COUNTER = "num_batches_tracked"  # says nothing
_MOST = 10_000  # arrays, and how deep they may lie
_DEEPEST = 20


def load_authors(forms: Sequence[RivalSpec], path: Path) -> RivalNet:
    """Build the form of a rival that a published file fits, in evaluation mode.

    Raises:
        BackendError: A `.mat` file, and no SciPy.
        ModelError: The file is broken, holds more than arrays, or its arrays do not fit.
    """
    arrays = read_arrays(path)
    faults = []
    for form in forms:
        net = build_rival(form)
        try:
            net.load_state_dict(fitted(net, arrays))
        except _Misfit as fault:
            faults.append(str(fault))
            continue
        return net.eval()
    raise ModelError(f"{path} does not fit {forms[0].name}: {'; nor its other form: '.join(faults)}.")


class _Misfit(Exception):  # noqa: N818 - caught here
    """Why a file does not fit."""


def fitted(net: RivalNet, arrays: NamedArrays) -> dict[str, Tensor]:
    """The state of ``net`` out of a file's arrays: by name where all names are there, else by shape, in the file's order.

    Convolutions may lie as out x in x height x width (PyTorch) or height x width x in x out (TensorFlow, MATLAB), matrices
    either way round, vectors as rows or columns.
    """
    wanted = net.state_dict()
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(_COUNTER)}
    wanted = {name: tensor for name, tensor in wanted.items() if name not in counters}
    if set(wanted) <= set(arrays) and all(arrays[name].shape == tuple(tensor.shape) for name, tensor in wanted.items()):
        return counters | {name: _tensor(name, arrays[name]) for name in wanted}
    try:
        return counters | _by_shape(wanted, [(name, _as_torch(array)) for name, array in arrays.items()])
    except _Misfit as fault:
        try:
            return counters | _by_shape(wanted, [(name, _as_tensorflow(array)) for name, array in arrays.items()])
        except _Misfit:
            raise fault from None


def _by_shape(wanted: Mapping[str, Tensor], found: list[tuple[str, NDArray[Any]]]) -> dict[str, Tensor]:
    state, left = {}, list(found)
    for name, tensor in wanted.items():
        shape = tuple(tensor.shape)
        at = next((index for index, (_, array) in enumerate(left) if array.shape == shape), None)
        if at is None:
            raise _Misfit(
                f"of its {len(found)} arrays ({_listed(found)}) none is left of shape {_times(shape)} for {name}; "
                f"the network has {len(wanted)}"
            )
        state[name] = _tensor(*left.pop(at))
    if left:
        raise _Misfit(
            f"it holds {len(found)} arrays, the network has {len(wanted)}: {left[0][0]} of shape {_times(left[0][1].shape)} "
            "has no place"
        )
    return state


def _as_torch(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(-1) if array.ndim == 2 and 1 in array.shape else array


def _as_tensorflow(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3:
        array = array[..., None]  # MATLAB keeps no last side of one
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T if array.ndim == 2 and 1 not in array.shape else _as_torch(array)


def _tensor(name: str, array: NDArray[Any]) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if not values.isfinite().all():
        raise _Misfit(f"{name} holds NaN or infinity")
    return values


def _listed(found: Sequence[tuple[str, NDArray[Any]]]) -> str:
    shown = ", ".join(_times(array.shape) for _, array in found[:4])
    return f"{shown}, ..." if len(found) > 4 else shown


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def read_arrays(path: Path) -> NamedArrays:
    """Every array of numbers in a `.pth`, `.pt`, `.npz`, `.mat` or `.safetensors` file, by where it lies, in the file's order.

    Raises:
        BackendError: A `.mat` file, and no SciPy.
        ModelError: The file is broken, holds no arrays, or more than arrays.
    """
    readers: dict[str, Callable[[Path], Any]] = {".npz": _npz, ".mat": _mat, ".safetensors": _safetensors}
    found: NamedArrays = {}
    _collect(readers.get(path.suffix.lower(), _pth)(path), "", found, 0)
    if not found:
        raise ModelError(f"{path} holds no array of numbers: give a file of weights.")
    return found


def _collect(value: Any, where: str, found: NamedArrays, depth: int) -> None:  # noqa: ANN401 - whatever lies in a file
    """Walk through what dictionaries, lists and MATLAB's cells and structures hold."""
    if depth > _DEEPEST or len(found) > _MOST:
        raise ModelError("the file holds too many arrays, or too deep ones, to be weights.")
    if isinstance(value, Tensor):
        value = value.detach().cpu().float().numpy() if value.is_floating_point() else value.cpu().numpy()
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items() if not str(key).startswith("__")]
    elif isinstance(value, list | tuple):
        parts = [(str(number), part) for number, part in enumerate(value)]
    elif isinstance(value, np.ndarray | np.void) and value.dtype.names:
        cells = np.atleast_1d(value).ravel()
        parts = [(f"{name}", cell[name]) for cell in cells for name in value.dtype.names]
    elif isinstance(value, np.ndarray) and value.dtype == object:
        parts = [(str(number), part) for number, part in enumerate(value.ravel(order="F"))]
    else:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
            name = where.removeprefix("state_dict.").removeprefix("module.")
            found[name if name not in found else f"{name}#{len(found)}"] = value
        return
    for key, part in parts:
        _collect(part, f"{where}.{key}".removeprefix("."), found, depth + 1)


def _pth(path: Path) -> Any:  # noqa: ANN401 - whatever lies in the file
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted pickle can raise anything
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelError(
            f"{path} cannot be read as weights and nothing else, and what else it holds is not run ({reason}): save its "
            "`state_dict()` with `torch.save`."
        ) from error


def _npz(path: Path) -> Any:  # noqa: ANN401 - as above
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is no .npz file of plain arrays: {error}.") from error


def _safetensors(path: Path) -> Any:  # noqa: ANN401 - as above
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except Exception as error:  # safetensors' own error has no base class but this
        raise ModelError(f"{path} is no safetensors file: {error}.") from error


def _mat(path: Path) -> Any:  # noqa: ANN401 - as above
    if is_installed("scipy") is None:
        raise BackendError(f"{path} needs SciPy: pip install 'ufafuse[bench]'.")
    from scipy.io import loadmat

    try:
        return loadmat(path)
    except NotImplementedError as error:
        raise ModelError(f"{path} is of MATLAB's -v7.3, which is not read: save it with `save(..., '-v7')`.") from error
    except Exception as error:  # SciPy's reader raises what its bytes lead it to
        raise ModelError(f"{path} is no MATLAB file that can be read: {error}.") from error
