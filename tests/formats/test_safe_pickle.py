"""Pickles: what they may hold comes back as Python's own unpickler has it; nothing ever runs."""

import builtins
import contextlib
import copyreg
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

from formats import safe_pickle
from formats.safe_pickle import _is_usual, dump, load, loads
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
    path.write_bytes(gzip.compress(b"\x80\x02" + b"N0" * 9 + b"N."))
    assert load(path) is None
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
        pytest.param(b"\x80\x02Nr\xff\xff\xff\x00.", id="memo slot somewhat out"),
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
        "long beyond bounds": (b"\x80\x02\x8b\xff\xff\xff\x7f1.", "sound"),
        "attribute by setting state": (begun("numpy.ndarray") + b"}b.", "changes the inside"),
        "state of a dict": (b"\x80\x02}}b.", "'dict' object has no attribute"),
        "call of data": (b"\x80\x02K\x01)R.", "'int' object is not callable"),
        "call of ndarray": (begun("numpy.ndarray") + b"J\xff\xff\xff\x7f\x85R.", "calls numpy.ndarray"),
        "new object": (begun("numpy.ndarray") + b"J\xff\xff\xff\x7f\x85\x81.", "makes numpy.ndarray"),
        "instance": (b"(ios\nsystem\n.", r"os\.system"),
        "object": (b"(cos\nsystem\nX\x01\x00\x00\x00xo.", r"os\.system"),
        "persistent": (b"P1\n.", "outside"),
        "extension": (b"\x80\x02\x82\x01.", "extension"),
        "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.tofile.other\x93.", "tofile"),
        "name that is no word": (b"\x80\x04K\x01K\x02\x93.", "STACK_GLOBAL"),
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
        "object flags on bytes": (  # flags of objects (0x3f) on a plain dtype are not taken over
            ARRAY + b"(K\x01K\x01\x85" + DTYPE_F8.replace(b"f8", b"O8").replace(b"K\x00tb", b"K?tb")
            + b"\x89C\x08aaaaaaaatb.", "sound",
        ),
        "dtype built twice": (DTYPE_F8 + b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb.",
                              "inside of a dtype"),
        "dtype by attributes": (DTYPE_F8[:-len(DTYPE_F8) + 26] + b"}X\x04\x00\x00\x00realK\x01sb.", "sound"),
        "sub-array": (DTYPE_F8.replace(b"<NNN", b"<K\x01NN") + b".", "sub-arrays"),
        "array built twice": (
            ARRAY + b"q\x01(K\x01K\x01\x85" + DTYPE_F8 + b"q\x02\x89C\x08aaaaaaaatb"
            + b"(K\x01K\x02\x85h\x02\x89C\x10aaaaaaaaaaaaaaaatb.", "inside of an array",
        ),
        "array by attributes": (ARRAY + b"}X\x04\x00\x00\x00realK\x01sb.", "sound"),
        "array by slots": (ARRAY + b"N}X\x04\x00\x00\x00realK\x01s\x86b.", "sound"),
        "array of a subclass": (
            ARRAY.replace(b"cnumpy\nndarray", b"cnumpy\nmatrix") + b".", r"numpy\.matrix",
        ),
        "array of what is no class": (
            ARRAY.replace(b"cnumpy\nndarray", b"cnumpy\ndtype") + b".", "another class",
        ),
        "array of a list of a dtype that is not built": (
            ARRAY + b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
            b"\x89C\x08aaaaaaaatb.", "sound",
        ),
        "memo swapped for a number": (
            DTYPE_F8 + b"q\x05K\x07q\x05" + ARRAY + b"(K\x01K\x01\x85h\x05\x89C\x08aaaaaaaatb.",
            "sound",
        ),
        "memo slot far out": (b"\x80\x02Nr\xff\xff\xff\x7f.", "remembers"),
        "memo slot far out, as text": (b"Np2147483647\n.", "remembers"),
        "array as a key": (
            b"\x80\x02}" + ARRAY + b"(K\x01K\x01\x85" + DTYPE_F8 + b"\x89C\x08aaaaaaaatbK\x01s.",
            "unhashable",
        ),
        "stop before an array is done": (b"\x80\x02]" + ARRAY + b"a.", "sound"),
        "arguments of a call": (begun("numpy.dtype") + b"K\x01K\x02K\x03\x87R.", "sound"),
        "too many arguments": (begun("collections.OrderedDict") + b"]]]\x87R.", "sound"),
        "arguments that are no tuple": (begun("collections.OrderedDict") + b"]R.", "sound"),
        "call of an array": (ARRAY + b")R.", "not callable"),
        "text opcodes": (b"cos\nsystem\n(S'touch pwned'\ntR.", r"os\.system"),
        "text of a class": (b"(i__builtin__\neval\n.", r"__builtin__\.eval"),
        "very deep key": (b"\x80\x02}N" + b"\x85" * 10**6 + b"K\x01s.", "without end"),
        "key that doubles": (b"\x80\x02}K\x01" + b"2\x86" * 90 + b"K\x01s.", "without end"),
        "key that doubles by the memo": (
            b"\x80\x02}N" + b"q\x01h\x01\x86" * 90 + b"K\x01s.", "without end",
        ),
        "deep key through a set": (
            b"\x80\x02}N" + b"\x85q\x010c__builtin__\nset\nh\x01\x85R" * 10 + b"K\x01s.", "sound",
        ),
        "text that escapes wrongly": (b"S'\\q'\n.", "sound"),
        "buffer made a view": (b"\x80\x05\x96\x01" + bytes(7) + b"a\x98.", "outside"),
        "integer of many digits": (b"\x80\x02\x8b\x00\x10\x00\x00" + b"1" * 4096 + b".", "integer of"),
        "digits without end": (b"L" + b"9" * 10**5 + b"L\n.", "sound"),
        "bytes beyond the end": (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3fa.", "sound|cut off"),
        "frame beyond the end": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x3fN.", "sound|cut off"),
        "escapes that are none": (b"S'\\q'\n0S'a\n.", "sound"),
    }.values(),
)  # fmt: skip
def test_broken_and_greedy_programs(program: bytes, told: str) -> None:
    with pytest.raises(UnreadableFile, match=told):
        loads(program, path=HERE, max_steps=10**6)


def test_a_registered_extension_is_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps these in a cache, which its unpickler takes them from without asking."""
    copyreg.add_extension("os", "system", 241)
    try:
        assert pickle.loads(b"\x80\x02\x82\xf1.") is os.system
        with pytest.raises(UnreadableFile, match="extension"):
            loads(b"\x80\x02\x82\xf1.", path=HERE)
    finally:
        copyreg.remove_extension("os", "system", 241)


def test_shared_tuples_do_not_multiply() -> None:
    """Of n tuples, each holds the one before twice: 2ⁿ ways, looked through once."""
    program = b"\x80\x02]" + b"q\x01" + b"h\x01h\x01\x86q\x01" * 60 + b"."
    with pytest.raises(UnreadableFile, match="without end"):
        loads(program, path=HERE)
    shared = loads(b"\x80\x02]" + b"q\x010](h\x01h\x01e" * 60 + b".", path=HERE)
    assert shared[0] is shared[1]


def test_stand_ins_are_found_wherever_they_are() -> None:
    one = np.arange(3.0)
    inner = np.empty(2, dtype=object)
    inner[:] = [one, (one, [one])]
    thing = ({"a": (one, (one, {"b": [one]}))}, [inner], np.dtype("<i4"))
    for protocol in PROTOCOLS:
        made = loads(pickle.dumps(thing, protocol=protocol), path=HERE)
        first = made[0]["a"][0]
        assert type(first) is np.ndarray
        assert made[0]["a"][1][0] is first
        assert made[0]["a"][1][1]["b"][0] is first
        assert made[1][0][0] is first
        assert made[1][0][1][1][0] is first
        assert made[2] == np.dtype("<i4")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_is_taken_at_once(protocol: int) -> None:
    """Without following it step by step, which takes twenty times as long."""
    thing = {"a": [np.arange(k, dtype=float) for k in range(200)], "b": ["word"] * 9, "c": 1.5}
    thing["d"] = [(1.0, 2.0), (1, 2, 3), (1, 2, 3, 4)] * 50
    assert _is_usual(pickle.dumps(thing, protocol=protocol))
    assert not _is_usual(pickle.dumps({((1, 2), (3, 4)): 1}, protocol=protocol))


def test_what_makes_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte can ask for a set of 216; so they are counted before."""
    monkeypatch.setattr(safe_pickle, "MAX_MADE", 1000)
    for step in (b"\x8f", b"}", b"]"):
        assert len(loads(b"\x80\x04](" + step * 900 + b"e.", path=HERE)) == 900
        with pytest.raises(UnreadableFile, match="makes more than 1000"):
            loads(b"\x80\x04](" + step * 1001 + b"e.", path=HERE)


def test_dump_writes_what_load_reads(tmp_path: Path) -> None:
    thing = {"a": np.arange(6.0).reshape(2, 3), "b": [None, "x", 1.5, (1, 2)]}
    dump(thing, tmp_path / "x.pkl")
    assert same(load(tmp_path / "x.pkl"), thing)
    with pytest.raises(UnreadableFile, match="Draw"):
        dump(Draw(0), tmp_path / "y.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


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
