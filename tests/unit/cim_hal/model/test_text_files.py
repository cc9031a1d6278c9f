"""Text of every format: the energies it stands for, and refusals with file and line."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import ModelError, read_model
from cim_hal.cli.sample import sample
from cim_hal.model.text_files import MAX_FILE_SPINS, OPEN, READINGS, read_text

SPINS = np.array(list(itertools.product((-1, 1), repeat=3)))
S = SPINS.T
X = (S + 1) / 2
# name, text, and the energy that each vector of three spins has, written by hand
CUT = -(2.0 * (S[0] != S[1]) - 1.5 * (S[1] != S[2]))
QUBO = -2 * X[0] - X[1] + 2 * 3 * X[0] * X[1] + 2 * 0.5 * X[1] * X[2]
GRAPH = "3 2\n1 2 2\n2 3 -1.5\n"
CORPUS = {
    "graph.txt": (GRAPH, CUT),
    "crlf.txt": (GRAPH.replace("\n", "\r\n"), CUT),
    "mac.txt": (GRAPH.replace("\n", "\r"), CUT),
    "bom.txt": ("\ufeff" + GRAPH, CUT),
    "comments.rud": ("# from the lab: ü\n\n%\nc\n  3   2\n\n1\t2  2\n# ok\n2 3 -1.5", CUT),
    "zero.txt": ("3 2\n0 1 2\n1 2 -1.5\n", CUT),
    "reversed.mc": ("3 2\n2 1 2\n3 2 -1.5e0\n", CUT),
    "plain.txt": ("3 2\n1 2\n2 3\n", -1.0 * (S[0] != S[1]) - 1.0 * (S[1] != S[2])),
    "biqmac.sparse": ("3 4\n1 1 -2\n2 2 -1\n1 2 3\n2 3 .5\n", QUBO),
    "hollow.sparse": ("3 1\n1 2 3\n", 6 * X[0] * X[1]),
    "qbsolv.qubo": (
        "c mine\np qubo 0 3 2 2\n0 0 -2\n1 1 -1\nc couplers\n0 1 6\n1 2 1\n",
        QUBO,
    ),
    "coo.txt": ("# vartype: BINARY\n0 0 -2\n1 1 -1\n0 1 6\n1 2 1\n", QUBO),
    "dimod.coo": ("# vartype=SPIN\n\n0 1 1.0\n1 2 -2.5\n2 2 0.5\n",
                  S[0] * S[1] - 2.5 * S[1] * S[2] + 0.5 * S[2]),
}  # fmt: skip


def write(folder, name: str, text: str):
    file = folder / name
    file.write_bytes(text.encode())
    return file


def energies(file, **options) -> np.ndarray:
    read = read_model(file, **options)
    values = read.model.energy(SPINS)
    if read.is_graph:
        np.testing.assert_allclose(values - values[0], -2 * read.model.cut(SPINS))
        return -read.model.cut(SPINS)
    return values


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("pack", [None, gzip, bz2, lzma], ids=["plain", "gz", "bz2", "xz"])
def test_every_format_has_the_energies_it_stands_for(tmp_path, name, pack):
    text, expected = CORPUS[name]
    data = text.encode()
    file = tmp_path / (name if pack is None else f"{name}.packed")
    file.write_bytes(data if pack is None else pack.compress(data))
    np.testing.assert_allclose(energies(file), expected, atol=1e-12)


def test_the_format_that_was_recognized_is_told(tmp_path):
    files = [write(tmp_path, name, text) for name, (text, _) in CORPUS.items()]
    told = {file.name: read_model(file).format for file in files}
    assert told["graph.txt"] == "gset (maxcut)"
    assert told["biqmac.sparse"] == "biqmac (qubo)"
    assert told["qbsolv.qubo"] == "qbsolv (qubo)"
    assert told["dimod.coo"] == "coo (ising)"


@pytest.mark.parametrize(
    ("reading", "expected"),
    [("qubo", 4 * X[0] * X[1]), ("maxcut", -2.0 * (S[0] != S[1])), ("ising", 2 * S[0] * S[1])],
)
def test_a_file_that_leaves_it_open_is_read_as_asked(tmp_path, reading, expected):
    file = write(tmp_path, "open.qubo", "3 1\n1 2 2\n")
    with pytest.raises(ModelError, match=r"open.qubo:1: .*symmetric matrix Q, or a graph .*format"):
        read_model(file)
    np.testing.assert_allclose(energies(file, format=reading), expected)


@pytest.mark.parametrize("suffix", OPEN)
def test_suffixes_of_other_problems_than_graphs_are_not_read_as_graphs(tmp_path, suffix):
    file = write(tmp_path, f"open{suffix}", "4 2\n1 2 2\n2 3 -1\n")
    with pytest.raises(ModelError, match=rf"open{suffix}:1: .*, or a graph .*format"):
        read_model(file)
    assert read_model(file, format="maxcut").is_graph


def test_spins_of_qubist_files_are_counted_from_zero(tmp_path):
    file = write(tmp_path, "some.qh", "3 2\n2 2 1.3\n1 2 -0.2\n")
    np.testing.assert_allclose(energies(file, format="ising"), 1.3 * S[2] - 0.2 * S[1] * S[2])


def test_a_scale_or_offset_in_comments_of_qbsolv_is_told(tmp_path):
    text = "c scale : {}\nc offset : {}\nc scale : of 2\np qubo 0 2 0 1\n0 1 3\n"
    with pytest.warns(UserWarning, match="say scale 2.7, offset -1e3, which is not read"):
        read_model(write(tmp_path, "told.qubo", text.format("2.7", "-1e3")))
    read_model(write(tmp_path, "same.qubo", text.format("1.0", "0")))  # no warning


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("coo.txt", "0 1 1.0\n1 2 1.0\n", "coo.txt:1: .*neither a graph.*vartype.*format"),
        ("loop.txt", "2 1\n1 1 1\n", "loop.txt:2: edge 1 joins 1 and 1 .*qubo"),
        ("twice.txt", "3 2\n1 2 1\n2 1 1\n", "twice.txt:3: 2 1 stands in line 2 already"),
        ("twice.txt", "3 2\n1 2 1\n1 2 1\n", "twice.txt:3: "),
        ("twice.sparse", "3 2\n1 1 1\n1 1 1\n", "twice.sparse:3: "),
        ("twice.qubo", "p qubo 0 2 0 2\n0 1 1\n1 0 1\n", "twice.qubo:3: "),
        ("twice.coo", "# vartype: SPIN\n0 1 1\n0 1 1\n", "twice.coo:3: "),
        ("kinds.coo", "# vartype: SPIN\n# vartype: BINARY\n0 1 1\n", "kinds.coo:2: "),
        ("kind.coo", "# vartype: INTEGER\n0 1 1\n", "kind.coo:1: vartype INTEGER"),
        ("empty.coo", "# vartype: SPIN\n", "empty.coo has no entries"),
        ("minus.coo", "# vartype: SPIN\n-1 1 1\n", "minus.coo:2: "),
        ("head.qubo", "p qubo 0 3 2\n0 0 1\n", "head.qubo:1: .* is not a header of qbsolv"),
        ("head.qubo", "p cnf 3 2\n1 0\n", "head.qubo:1: "),
        ("count.qubo", "p qubo 0 3 2 0\n0 0 1\n", "says 2 nodes and 0 couplers, the file has 1"),
        ("far.qubo", "p qubo 0 2 1 0\n2 2 1\n", "far.qubo:2: edge 1 joins 2 and 2"),
        ("both.txt", "2 2\n0 1 1\n1 2 1\n", "both.txt:2: edge 1 joins 0 and 1"),
        ("large.txt", f"{MAX_FILE_SPINS + 1} 1\n1 2 1\n", "at most 1000000 are read"),
        ("large.coo", "# vartype: SPIN\n0 123456789012345 1\n", "at most 1000000 are read"),
        ("under.txt", "2 1\n1 2 1_0\n", "under.txt:2: '1_0' is not a finite decimal"),
        ("huge.txt", "2 1\n1 2 1e400\n", "huge.txt:2: '1e400' is not a finite"),
        ("tiny.txt", "2 1\n1 2 1e-400\n", "tiny.txt:2: .*too small"),
        ("long.txt", f"2 1\n1 2 {2**53 + 1}\n", "long.txt:2: .*would round"),
        ("hex.txt", "2 1\n1 2 0x1p3\n", "hex.txt:2: "),
        ("arabic.txt", "2 1\n1 2 \u0663\n", "arabic.txt:2: "),
        ("json.txt", '{"J": [[0, 1], [1, 0]]}', "JSON of an unknown kind: it holds J"),
    ],
)  # fmt: skip
def test_what_is_malformed_or_ambiguous_is_refused_with_its_line(tmp_path, name, text, says):
    with pytest.raises(ModelError, match=says):
        read_model(write(tmp_path, name, text))


@pytest.mark.parametrize("name", ["biqmac.sparse", "qbsolv.qubo", "coo.txt"])
def test_no_matrix_is_read_as_a_graph(tmp_path, name):
    with pytest.raises(ModelError, match=r"format qubo|joins"):
        read_model(write(tmp_path, name, CORPUS[name][0]), format="maxcut")


@pytest.mark.parametrize("broken", [b"\x1f\x8b\x08broken", b"BZh9broken", b"\xfd7zXZ\x00broken"])
def test_broken_compression_is_refused(tmp_path, broken):
    (tmp_path / "graph.txt.gz").write_bytes(broken)
    with pytest.raises(ModelError, match="cannot be unpacked"):
        read_model(tmp_path / "graph.txt.gz")


@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_a_line_that_stands_twice_never_gives_the_model_without_it(name, data):
    text, _ = CORPUS[name]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").splitlines()
    entries = [at for at, line in enumerate(lines) if line[:1].isdigit() and len(line.split()) == 3]
    if not entries:
        return
    at = data.draw(st.sampled_from(entries))
    i, j, w = lines[at].split()
    lines.insert(at + 1, data.draw(st.sampled_from([lines[at], f"{j} {i} {w}"])))
    with pytest.raises(ModelError):
        read_text("\n".join(lines), name, "." + name.split(".")[-1], None)


@given(st.text("0123456789 .-+e#pcqubonaivrty:=SPIN\n\t\x00_", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_model_or_a_refusal(text):
    for suffix in (".txt", ".sparse", ".qubo"):
        for reading in (None, *READINGS):
            try:
                read_text(text, "any", suffix, reading)
            except ModelError:
                continue


def test_an_instance_of_the_biq_mac_library_is_the_qubo_it_is(shared_dir):
    file = shared_dir / "instances/biqmac/bqp250-1.sparse"
    read = read_model(file)
    assert (read.format, read.model.n_spins) == ("biqmac (qubo)", 250)
    Q = np.zeros((250, 250))
    for line in file.read_text().splitlines()[1:]:
        i, j, q = map(int, line.split())
        Q[i - 1, j - 1] = Q[j - 1, i - 1] = q
    x = np.random.default_rng(0).integers(0, 2, (5, 250))
    assert read.model.energy(2 * x - 1).tolist() == np.einsum("ri,ij,rj->r", x, Q, x).tolist()


def test_the_command_takes_the_format(tmp_path):
    file = write(tmp_path, "open.qubo", "3 1\n1 2 2\n")
    command = ["emulator-mean-field", "--model", str(file), "--runs", "2", "--json"]
    assert CliRunner().invoke(sample, command).exit_code != 0
    done = CliRunner().invoke(sample, [*command, "--format", "ising", "--seed", "1"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["model_format"], told["best_energy"]) == ("gset (ising)", -2.0)
