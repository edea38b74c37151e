"""Several pieces of work at once, with their results in order, within an amount of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")
_AHEAD = 2


class InThisThread(Executor):
    """Does each piece of work when it is handed over: where many others are under way, threads of its own would only wait."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:  # noqa: ANN401 - as its own
        """Run ``fn`` now; what it raises waits in the future, as from a thread."""
        future = Future[Result]()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - all of them are raised where the result is asked for
            future.set_exception(error)
        return future


def in_order(
    work: Iterable[Work], do: Callable[[Work], Result], *, workers: int, cost: Callable[[Work], float], room: float
) -> Iterator[Result]:
    """Do ``work`` in threads and yield the results in its order.

    Args:
        work: Taken as it is needed.
        do: Runs in a thread; what it raises is raised here when its turn comes, and what was not begun is left.
        workers: So many at once, and as many wait, so that one that takes long holds up no other. With 1 everything runs in
            this thread, and each result comes before the next piece is taken.
        cost: What a piece takes, in the unit of ``room``.
        room: What all that is under way may take together; a piece that takes more runs alone.
    """
    if workers == 1:
        yield from map(do, work)
        return
    waiting: deque[tuple[Future[Result], float]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ufafuse-work")
    try:
        for piece in work:
            wanted = min(cost(piece), room)
            while waiting and (len(waiting) >= _AHEAD * workers or sum(taken for _, taken in waiting) + wanted > room):
                yield waiting.popleft()[0].result()
            waiting.append((pool.submit(do, piece), wanted))
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
