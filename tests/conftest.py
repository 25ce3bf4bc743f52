"""What all tests share: float64 by a marker, and the folder with the real data."""

import ctypes
import gc
import os
import time
from importlib.metadata import version

# Compile fast rather than well: the suite runs thousands of small programs once. The newer emitters
# of fused loops take as long as all the rest of a compilation.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if version("jaxlib").startswith("0.10."):  # a version that does not know a flag ends the process
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# Tracing makes millions of small objects that are seldom in cycles: looking for cycles after every
# 700 of them takes 5 % of the time.
gc.set_threshold(200_000, 20, 100)
# Several workers share one accelerator where there is one.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import pytest
from jax._src.interpreters import mlir

# Two devices where there is one CPU: what is shared out over devices is tested with more than one.
jax.config.update("jax_num_cpu_devices", 2)

STARTED = time.monotonic()
STATM = Path("/proc/self/statm")
MEMORY = {"limit": 1.4e9}


raises = pytest.raises
jaxtyped = jaxtyping.jaxtyped
make_ir_context = getattr(mlir, "make_ir_context", None)
CHECKED = set()
CONTEXTS = {"lowered": 0, "last": None}


def jaxtyped_once(*, typechecker: Any) -> Any:
    """`jaxtyping.jaxtyped`, of functions inside functions only the first time that they are made:
    writing the code of the checks anew for each closure took a tenth of the suite's time."""

    def decorate(function: Any) -> Any:
        code = getattr(function, "__code__", None)
        if code is not None and "<locals>" in function.__qualname__:
            if code in CHECKED:
                return function
            CHECKED.add(code)
        return jaxtyped(function, typechecker=typechecker)

    return decorate


def one_ir_context() -> Any:
    """A context of the compiler for 100 programs in turn. JAX makes one for each, and loading its
    dialects takes longer than all else that a small program needs. A program that is written
    while another one is gets its own."""
    if mlir.ir.Context.current is not None:
        return make_ir_context()
    if CONTEXTS["lowered"] % 100 == 0:
        CONTEXTS["last"] = make_ir_context()
    CONTEXTS["lowered"] += 1
    return CONTEXTS["last"]


jaxtyping.jaxtyped = jaxtyped_once
if make_ir_context is not None:
    mlir.make_ir_context = one_ir_context


@contextmanager
def unchecked() -> Iterator[None]:
    """Calls inside are not checked against their signatures."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def raises_itself(*arguments: Any, **options: Any) -> Iterator[pytest.ExceptionInfo]:
    """`pytest.raises`, without the checks of types inside it: a test of bad input asks for the
    error of the package, and the checks would refuse the input before it does."""
    with unchecked(), raises(*arguments, **options) as info:
        yield info


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seconds N`: tests that would begin later than that are skipped, and counted as skipped."""
    parser.addoption("--seconds", type=float, default=float("inf"), help="begin no test after that")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what would begin too late."""
    limit = item.config.getoption("--seconds")
    if time.monotonic() - STARTED > limit:
        pytest.skip(f"not begun within {limit:.0f} seconds (--seconds)")


def pytest_configure(config: pytest.Config) -> None:
    """Keep all compiled programs on disk, where the workers share them and the next run finds
    them: most of the suite's time is compilation. Where types and shapes are checked, errors are
    those of the package all the same."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        folder = config.cache.mkdir("compiled")
        # By the environment, so that processes which tests start use it too.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if config.getoption("--jaxtyping-packages"):
        pytest.raises = raises_itself


def long_tests() -> dict[str, float]:
    """The seconds of the tests listed as long."""
    lines = Path(__file__).with_name("long_tests.txt").read_text().splitlines()
    pairs = (line.split(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(seconds) for seconds, name in pairs}


def pytest_collection_finish() -> None:
    """What is there before the first test stays: no use to look at it for cycles ever again."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the long tests, and refuse a list that names tests which are gone."""
    listed = long_tests()
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.slow)
    if config.option.markexpr == "slow":
        # The shortest files first: where time runs out (--seconds), the fewest tests are left out.
        costs = Counter()
        for name, seconds in listed.items():
            costs[name.split("::")[0]] += seconds
        items.sort(key=lambda item: costs[item.nodeid.split("::")[0]])
    if any("::" in argument for argument in config.args):
        return
    collected = {item.nodeid for item in items}
    files = {name.split("::")[0] for name in collected}
    gone = sorted(n for n in listed.keys() - collected if n.split("::")[0] in files)
    if gone:
        raise pytest.UsageError(f"tests/long_tests.txt names tests that do not exist: {gone}")


@pytest.fixture(autouse=True)
def types(request: pytest.FixtureRequest) -> Iterator[None]:
    """No checks of types in tests marked `stand_ins`."""
    with unchecked() if request.node.get_closest_marker("stand_ins") else nullcontext():
        yield


@pytest.fixture(autouse=True)
def precision(request: pytest.FixtureRequest) -> Iterator[None]:
    """Float64 inside tests marked `x64`, JAX's float32 default in all others."""
    with jax.enable_x64(request.node.get_closest_marker("x64") is not None):
        yield


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Drop the compiled programs where they hold much: a large one takes 90 MB, and the C library
    keeps what they leave until it is told to give it back. So a worker stays below 2 GB, and below
    the 65530 memory mappings that Linux grants a process, of which each program takes a few.
    """
    yield
    if STATM.exists() and resident() > MEMORY["limit"]:
        jax.clear_caches()
        gc.collect()
        trim()
        # What stays belongs to libraries and data: no use to try again at once.
        MEMORY["limit"] = max(MEMORY["limit"], 1.25 * resident())


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Give free memory back to the system, where the C library can."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)


def data_folder() -> Path:
    """Where the real data lie: `JAXPBDL_DATA`, else `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("JAXPBDL_DATA", default))


@pytest.fixture(scope="session")
def real_data():
    """`real_data("pinns-raissi/KS.mat")` is the path of that file. Without a data folder the test
    is skipped; with one in which the file is missing it fails.
    """
    return locate


def locate(name: str) -> Path:
    """The file of that name below the data folder."""
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"there is no data folder {folder}; set JAXPBDL_DATA to one")
    if not (folder / name).exists():
        pytest.fail(f"{name} is missing in the data folder {folder}", pytrace=False)
    return folder / name
