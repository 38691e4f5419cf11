"""What every backend refuses before it loads anything: files that are not there, too many sequences or threads.

Knows: the limits, which are llama.cpp's own: beyond them it kills the process. Does not know: any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.backends.base import BackendOptions
from models.errors import BundleError, UsageError

MAX_SEQUENCES, MAX_THREADS = 256, 512


def check_options(files: Sequence[Path], options: BackendOptions) -> None:
    """Raises BundleError where one of ``files`` is missing, UsageError for ``options`` out of range."""
    for path in files:
        if not path.is_file():
            raise BundleError(f"There is no model file {str(path)!r}; check the path.")
    if not 1 <= options.num_sequences <= MAX_SEQUENCES:
        raise UsageError(f"num_sequences is {options.num_sequences}; use 1 to {MAX_SEQUENCES}.")
    if options.num_threads is not None:
        check_threads(options.num_threads)


def check_threads(num_threads: int) -> None:
    """Raises UsageError for a number of threads out of range."""
    if not 1 <= num_threads <= MAX_THREADS:
        raise UsageError(f"The number of threads is {num_threads}; use 1 to {MAX_THREADS}.")
