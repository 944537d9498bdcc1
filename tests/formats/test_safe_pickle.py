"""Pickles: what they may hold comes back as Python's own unpickler has it; nothing ever runs."""

import builtins
import contextlib
import gzip
import io
import os
import pickle  # noqa: TID251 - what is written here is what must be read, or refused
import pickletools
import struct
import subprocess
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.safe_pickle import load, loads
from schemas.errors import UnreadableFile

HERE = Path("x.pkl")
PROTOCOLS = range(6)


def same(one: Any, two: Any) -> bool:
    """Equal in value and in type, NaN for NaN."""
    if isinstance(one, np.ndarray):
        alike = isinstance(two, np.ndarray) and one.dtype == two.dtype and one.shape == two.shape
        if one.dtype == object:
            return alike and all(map(same, one.flat, two.flat))
        return alike and one.tobytes() == two.tobytes()
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two) or one != one


class Draw:
    """Things that a pickle may hold, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.before: list[Any] = []

    def thing(self, depth: int = 0) -> Any:
        made = self._made(depth)
        self.before.append(made)
        return made

    def _made(self, depth: int) -> Any:
        kind = int(self.rng.integers(0, 17 if depth < 4 else 10))
        match kind:
            case 0:
                return None
            case 1:
                return bool(self.rng.integers(2))
            case 2:
                return int(self.rng.integers(-(2**62), 2**62)) >> int(self.rng.integers(0, 62))
            case 3:
                return int(self.rng.integers(1, 2**62)) ** 5 * int(self.rng.choice([-1, 1]))
            case 4:
                return float(self.rng.choice([0.0, -0.0, np.nan, np.inf, -1.5e-300, np.pi]))
            case 5 | 6:
                return "".join(
                    self.rng.choice(list("aé\n\\'\"κ漢😀\x00 "), self.rng.integers(0, 9))
                )
            case 7:
                return self.rng.bytes(int(self.rng.choice([0, 3, 300])))
            case 8:
                return bytearray(self.rng.bytes(3))
            case 9:
                return self.array()
            case 10:
                return [self.thing(depth + 1) for _ in range(self.rng.integers(0, 5))]
            case 11:
                return tuple(self.thing(depth + 1) for _ in range(self.rng.integers(0, 5)))
            case 12 | 13:
                return {f"k{i}": self.thing(depth + 1) for i in range(self.rng.integers(0, 5))}
            case 14:
                return {1.5, "word", (3, "x")}
            case 15:
                return frozenset({b"b", 4})
            case _:
                return self.before[int(self.rng.integers(len(self.before)))] if self.before else 1j

    def array(self) -> Any:
        kind = self.rng.choice(
            ["<f8", ">f4", "<i2", "|b1", "|u1", "<c16", "<U5", "|S3", "<M8[us]", "<m8[ns]", "O",
             "record"]
        )  # fmt: skip
        shape = tuple(self.rng.integers(0, 4, self.rng.integers(0, 4)))
        if kind == "record":
            array = np.zeros(shape, dtype=[("a", "<f4", ()), ("b", "<i8")])
        elif kind == "O":
            array = np.empty(shape, dtype=object)
            for i in range(array.size):
                array.flat[i] = [i, "x"]
        else:
            array = self.rng.integers(0, 2, shape).astype(kind)
        if self.rng.integers(2):
            array = np.asfortranarray(array)
        return array[()] if shape == () and kind not in ("O", "record") else array


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(60))
def test_drawn_things_come_back(seed: int, protocol: int) -> None:
    thing = Draw(seed).thing()
    written = pickle.dumps(thing, protocol=protocol)
    assert same(loads(written, path=HERE), pickle.loads(written))
    lean = pickletools.optimize(written)
    assert same(loads(lean, path=HERE), pickle.loads(lean))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_special_dicts_become_plain_ones(protocol: int) -> None:
    counts = defaultdict(int, {"a": 1})
    written = pickle.dumps([OrderedDict(b=1, a=2), counts, counts], protocol=protocol)
    one, two, three = loads(written, path=HERE)
    assert same([one, two], [{"b": 1, "a": 2}, {"a": 1}])
    assert two is three, "what is shared stays shared"


def test_both_names_of_numpy_and_python_two() -> None:
    new = pickle.dumps(np.arange(4.0), protocol=4)
    assert b"numpy._core.multiarray" in new
    old = new.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    old = old.replace(b"\x95" + old[3:11], b"\x95" + struct.pack("<Q", len(old) - 11))
    np.testing.assert_array_equal(loads(old, path=HERE), np.arange(4.0))
    of_two = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\n"
        b"tp4\nRp5\n(I1\n(I2\ntp6\ncnumpy\ndtype\np7\n(S'i2'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\n"
        b"p11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x01\\x00\\xff\\x7f'\np13\ntp14\nb."
    )
    np.testing.assert_array_equal(loads(of_two, path=HERE), np.array([1, 32767], dtype="<i2"))


def test_packed_files_and_their_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps({"zero": bytes(10**6)})))
    assert load(path)["zero"] == bytes(10**6)
    with pytest.raises(UnreadableFile, match="more than 100000 bytes"):
        load(path, max_bytes=10**5)
    with pytest.raises(UnreadableFile, match="more than 3 steps"):
        load(path, max_steps=3)


# ── Malice ───────────────────────────────────────────────────────────────────────────────────────


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def malice() -> dict[str, Any]:
    """Name → (what to pickle, what the refusal must name)."""
    return {
        "system": (Calls(os.system, "touch pwned"), r"(posix|nt)\.system"),
        "eval": (Calls(eval, "open('pwned', 'w')"), r"builtin(s|__)\.eval"),
        "exec": (Calls(exec, "open('pwned', 'w')"), r"builtin(s|__)\.exec"),
        "open": (Calls(open, "pwned", "w"), r"io\.open"),
        "popen": (Calls(subprocess.check_call, ["touch", "pwned"]), r"(subprocess|commands)\.check_call"),
        "import": (Calls(__import__, "os"), r"builtin(s|__)\.__import__"),
        "getattr": (Calls(getattr, np.zeros(2), "tofile"), r"builtin(s|__)\.getattr"),
        "chain": (Calls(getattr, Calls(__import__, "os"), "system"), "getattr"),
        "in an array": (np.array([Calls(os.system, "touch pwned")], dtype=object), "system"),
        "in a dict key": ({Calls(os.system, "touch pwned"): 1}, "system"),
        "numpy load": (Calls(np.load, "pwned", None, True), r"numpy\.load"),
        "numpy runs": (Calls(np.fromfile, "x"), "fromfile"),
        "own class": (Draw(0), r"\.Draw|copy_?reg"),
        "slice": (slice(1, 2), r"builtin(s|__)\.slice"),
        "type": (Calls(type, "X", (), {}), r"builtin(s|__)\.type"),
        "bytearray of a number": (Calls(bytearray, 10**12), "nothing that is there|sound pickle"),
        "bytes of a number": (Calls(bytes, 10**12), "sound pickle"),
        "set of text": (Calls(set, "abc"), "sound pickle"),
        "encoding": (Calls(__import__("_codecs").encode, "x", "rot13"), "encoding"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(malice()))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_malice_is_refused_by_name_and_runs_nothing(
    name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing, named = malice()[name]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([thing], protocol=protocol))
    before = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []
    for module, function in ((os, "system"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(module, function, lambda *_: ran.append("ran"))
    with pytest.raises(UnreadableFile, match=named):
        load(path)
    assert not ran
    assert set(tmp_path.iterdir()) == before


def begun(name: str) -> bytes:
    """A protocol-2 program up to the naming of a global."""
    module, _, attribute = name.rpartition(".")
    return b"\x80\x02c" + module.encode() + b"\n" + attribute.encode() + b"\n"


DTYPE_F8 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"\x80\x02Nr\xff\xff\xff\x7f.", id="memo slot far out is harmless"),
        pytest.param(b"\x80\x04N.", id="plain"),
    ],
)
def test_harmless_programs(program: bytes) -> None:
    assert loads(program, path=HERE) is None


@pytest.mark.parametrize(
    ("program", "told"),
    {
        "array of a terabyte": (ARRAY + b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + DTYPE_F8 + b"\x89C\x00tb.", "sound"),
        "array with too little in it": (ARRAY + b"(K\x01K\x04\x85" + DTYPE_F8 + b"\x89C\x08aaaaaaaatb.", "sound"),
        "negative shape": (ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE_F8 + b"\x89C\x00tb.", "sound"),
        "pointers from bytes": (
            ARRAY + b"(K\x01K\x01\x85" + DTYPE_F8.replace(b"f8", b"O8") + b"\x89C\x08aaaaaaaatb.",
            "sound",
        ),
        "pointers in fields": (
            ARRAY + b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00V8\x89\x88\x87R(K\x03"
            b"X\x01\x00\x00\x00|NX\x01\x00\x00\x00a\x85}X\x01\x00\x00\x00a"
            + DTYPE_F8.replace(b"f8", b"O8") + b"K\x00\x86sK\x08K\x01K\x00tb\x89C\x08aaaaaaaatb.",
            "structured numpy dtype of objects",
        ),
        "dtype by expression": (begun("numpy.dtype") + b"X\x05\x00\x00\x00i4,f8\x85R.", "dtype i4,f8"),
        "strings within": (b"\x80\x02X\xff\xff\xff\x7fabc.", "cut off"),
        "long beyond bounds": (b"\x80\x02\x8b\xff\xff\xff\x7f1.", "integer of"),
        "attribute by setting state": (begun("numpy.ndarray") + b"}b.", "changes the inside"),
        "state of a dict": (b"\x80\x02}}b.", "changes the inside"),
        "call of data": (b"\x80\x02K\x01)R.", "calls int"),
        "call of ndarray": (begun("numpy.ndarray") + b"J\xff\xff\xff\x7f\x85R.", "calls numpy.ndarray"),
        "new object": (begun("numpy.ndarray") + b"J\xff\xff\xff\x7f\x85\x81.", "makes numpy.ndarray"),
        "instance": (b"(ios\nsystem\n.", r"os\.system"),
        "object": (b"(cos\nsystem\nX\x01\x00\x00\x00xo.", r"os\.system"),
        "persistent": (b"P1\n.", "outside"),
        "extension": (b"\x80\x02\x82\x01.", "extension"),
        "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.tofile.other\x93.", "tofile"),
        "name that is no word": (b"\x80\x04K\x01K\x02\x93.", r"int\.int"),
        "future": (b"\x80\x09N.", "protocol 9"),
        "nothing on the stack": (b"\x80\x02.", "sound"),
        "no stop": (b"\x80\x02N", "cut off"),
        "pop of nothing": (b"0.", "sound"),
        "unmarked": (b"t.", "sound"),
        "get of nothing": (b"\x80\x02h\x07.", "sound"),
        "half a dict": (b"\x80\x02(K\x01d.", "sound"),
        "unhashable": (b"\x80\x02}]K\x01s.", "sound"),
        "deep key": (b"\x80\x02}K\x01" + b"\x85" * 1000 + b"K\x01s.", "sound"),
        "undone array": (ARRAY + b".", "sound"),
        "words that are none": (b"\x80\x02X\x01\x00\x00\x00\xff.", "sound"),
        "copies": (
            b"\x80\x02c__builtin__\nset\nq\x00(" + b"K\x01" * 10**4 + b"lq\x01"
            + b"h\x00h\x01\x85R0" * 10**3 + b"N.", "again and again",
        ),
        "copies of bytes": (
            b"\x80\x03cbuiltins\nbytearray\nq\x00B" + struct.pack("<I", 10**6) + bytes(10**6)
            + b"q\x01" + b"h\x00h\x01\x85R0" * 10 + b"N.", "again and again",
        ),
        "escapes that are none": (b"S'\\q'\n0S'a\n.", "sound"),
    }.values(),
)  # fmt: skip
def test_broken_and_greedy_programs(program: bytes, told: str) -> None:
    with pytest.raises(UnreadableFile, match=told):
        loads(program, path=HERE, max_steps=10**6)


def test_a_deep_nest_neither_crashes_nor_hangs() -> None:
    made = loads(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", path=HERE)
    assert len(made) == 1


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_told_never_a_crash(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = pickle.dumps(
        [Draw(seed + 9).array() for _ in range(6)] + [{"a": (1, "b")}], protocol=seed
    )
    for _ in range(400):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            broken[place] = rng.integers(0, 256)
        cut = rng.integers(1, len(whole) + 1)
        with contextlib.suppress(UnreadableFile):
            loads(bytes(broken[:cut]), path=HERE)


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_pickles() -> None:
    """As Python's own unpickler has them, which may be trusted with these."""
    found = sorted(Path(os.environ["SCENELAKE_REAL_DATA"]).glob("scenarionet_*/*.pkl.gz"))
    assert found
    for path in found[::5]:
        content = gzip.decompress(path.read_bytes())
        theirs = pickle.load(io.BytesIO(content))
        ours = load(path)
        for key in ("tracks", "map_features", "dynamic_map_states"):
            assert same(ours[key], theirs[key]), (path, key)
