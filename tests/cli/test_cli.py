"""The command: what it prints and writes, how it refuses, and that asking for help loads nothing heavy."""

import json
import subprocess
import sys
import tomllib
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import blockprune_lib as bp
from blockprune_lib import bench as benchmarks
from blockprune_lib import cli
from blockprune_lib.bench.rivals import RIVALS
from blockprune_lib.bench.settings import MatrixSettings
from blockprune_lib.cli import bench
from blockprune_lib.cli.narrow_help import narrowed

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--shape", "32x48", "--tokens", "8", "--repeats", "3", "--peers", "none"]


@pytest.fixture(scope="module")
def record_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "r.json"
    assert cli.main(["bench", *SMALL, "--quiet", "--json", str(path)]) == 0
    return path


def test_the_entry_point_is_there():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["blockprune"].split(":")
    assert getattr(import_module(module), name) is cli.main


@pytest.mark.parametrize("flags", [["--help"], ["bench", "--help"], ["info", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(flags):
    code = (
        "import sys\n"
        "from blockprune_lib import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numba', 'numpy', 'scipy', 'matplotlib', 'onnxruntime', 'openvino'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "blockprune" in done.stdout


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("name", ["", *cli.NAMES])
def test_help_is_no_wider_than_the_terminal(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        cli.main([*([name] if name else []), "--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > width] == []


def test_help_that_fits_is_as_it_was_written_and_what_is_folded_can_be_copied():
    text = import_module("blockprune_lib.cli.report").DESCRIPTION
    assert "\n".join(narrowed(text, 120)) == text
    folded = narrowed(text, 38)
    at = folded.index('    --against "dense, 2 layers"')
    assert folded[at - 1] == "  blockprune report runs/study \\"
    assert " ".join(" ".join(folded).replace("\\", "").split()) == " ".join(text.split())


def test_help_names_every_engine_and_default(capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert ",".join(rival.key for rival in RIVALS[1:]) in help_text.replace(" ", "")  # lines break at hyphens too
    for default in ("(default: 768x768, 3072x768, 768x3072)", "block_column:16", "(default: 5)", "(default: 128)"):
        assert default in help_text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "SUBCOMMAND"),
        (
            ["bench", "--shape", "768"],
            "shapes[0] must be OUTPUTSxINPUTS, each at least 1; got '768': '3072x768' would do",
        ),
        (["bench", "--shape", "0x3"], "shapes[0][0] must be a whole number of at least 1; got 0"),
        (["bench", "--structure", "rows"], "text must name a structure; got 'rows': the forms are irregular"),
        (["bench", "--structure", "tile:64x64", "--shape", "8x8"], "block larger than the matrix"),
        (["bench", "--density", "1.5"], "must be a number above 0 and up to 1; got '1.5': 0.2 would do"),
        (["bench", "--density", "x"], "must be a number above 0 and up to 1; got 'x'"),
        (["bench", "--rate", "0.5"], "rates[0] must be a number of at least 1; got 0.5"),
        (["bench", "--rate", "nan"], "rates[0] must be a number of at least 1; got nan"),
        (["bench", "--rate", "2", "--density", "0.5"], "not allowed with argument"),
        (["bench", "--tokens", "-3"], "tokens[0] must be a whole number of at least 1; got -3"),
        (["bench", "--threads", "two"], "threads[0] must be a whole number of at least 1; got 'two'"),
        (["bench", "--repeats", "2"], "repeats must be a whole number of at least 3"),
        (["bench", "--peers", "deepsparse"], "there is no engine 'deepsparse' here"),
        (["bench", "--skip", "torch"], "there is no engine 'torch' here"),
        (["bench", "--batch", "2"], "--batch: only with --model"),
        (["bench", "--training", "--memory"], "--memory, --training: only with --model"),
        (["bench", "--lengths", "3,4"], "--lengths: only with --model"),
        (["bench", "--precision", "auto"], "--precision: only with --model"),
        (["bench", "--model", "bert-base", "--kernels"], "a matrix or a model, not both"),
        (["bench", "--kernels", "--peers", "none"], "--kernels runs no other engine; --peers would have no meaning"),
        (["bench", "--kernels", "--threads", "2"], "threads[0] must be"),
        (
            ["bench", "--model", "bert-base", "--lengths", "3,x"],
            "lengths must be whole numbers of at least 1",
        ),
        (["bench", "--model", "bert-base", "--shape", "8x8"], "a matrix or a model, not both"),
        (
            ["bench", "--model", "gpt"],
            "model must be one of bert-base, roberta-base, distilbert-base, minilm or a folder",
        ),
        (["bench", "--model", "bert-base", "--training", "--skip", "x"], "would have no meaning with it"),
        (["bench", "--json", "/no/such/folder/r.json"], "must be a file in a folder that exists"),
        (["bench", "--plot", "p.pdf"], "must end in .svg or .png"),
        (["bench", "--from", "none.json"], "there is no such file"),
        (["bench", "--from", "r.json", "--rate", "3", "--json", "x"], "cannot take --rate, --json"),
    ],
)
def test_wrong_flags_end_with_status_2_and_say_what_would_do(flags, message, capsys):
    try:
        status = cli.main(flags)
    except SystemExit as end:  # argparse's own
        status = end.code
    captured = capsys.readouterr()
    assert status == 2
    assert message in captured.err
    assert captured.err.startswith("usage: blockprune")
    assert captured.out == ""


def test_info_is_the_record_of_the_machine(capsys):
    assert cli.main(["info"]) == 0
    *record, last = capsys.readouterr().out.splitlines()
    assert "\n".join(record) == repr(bp.hardware())
    assert last.split(maxsplit=4)[:4] == ["machine", "code", "kept", "in"]
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == bp.hardware().to_dict()


def test_bench_prints_writes_and_prints_again(tmp_path, capsys):
    path, picture = tmp_path / "r.json", tmp_path / "p.svg"
    assert cli.main(["bench", *SMALL, "--density", "0.5", "--json", str(path), "--plot", str(picture)]) == 0
    first = capsys.readouterr()
    assert "case 1: 32 x 48, block_column:16, rate 2" in first.err
    assert "50.0% kept" in first.out
    assert picture.read_text().startswith("<?xml")
    assert json.loads(path.read_text())["settings"]["rates"] == [2.0]
    assert cli.main(["bench", "--from", str(path)]) == 0
    assert capsys.readouterr().out == first.out


def test_warnings_are_one_line_without_a_place(capsys, monkeypatch):
    def warn(**settings):
        warnings.warn("too many threads", RuntimeWarning, stacklevel=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmarks, "bench_matrices", warn)
    before = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *told: sys.stderr.write(warnings.formatwarning(*told[:4])))
        cli.main(["bench"])
    assert "blockprune bench: warning: too many threads\n" in capsys.readouterr().err
    assert warnings.formatwarning is before


def test_quiet_is_quiet(record_file, capsys):
    cli.main(["bench", *SMALL, "--quiet"])
    assert capsys.readouterr().err == ""


def test_the_schema_prints(capsys):
    assert cli.main(["bench", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == benchmarks.SCHEMA


def test_flags_become_settings():
    parser = cli._parser()
    flags = "--model minilm --rate 2 --rate 5 --batch 1 4 --threads 2 --memory --seed 0 --precision float32 auto"
    lists = ["--peers", "onnxruntime,openvino", "--skip", "torch-compile"]
    options = parser.parse_args(["bench", *flags.split(), *lists])
    assert bench.settings(options) == {
        "model": "minilm", "rates": [2.0, 5.0], "batches": [1, 4], "threads": [2], "memory": True, "seed": 0,
        "precisions": ["float32", "auto"],
        "peers": ("onnxruntime", "openvino"), "skip": ("torch-compile",),
    }  # fmt: skip
    assert bench.settings(parser.parse_args(["bench", "--peers", "all"])) == {"peers": "all"}
    shapes = bench.settings(
        parser.parse_args(["bench", "--shape", "3x4", "--shape", "5x6", "--structure", "irregular"])
    )
    assert MatrixSettings(**shapes).shapes == ((3, 4), (5, 6))


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [(KeyboardInterrupt(), 130, "stopped"), (RuntimeError("torch is wrong"), 1, "blockprune bench: torch is wrong")],
)
def test_a_run_that_ends_early_leaves_no_file(raised, status, said, tmp_path, capsys, monkeypatch):
    def end(**settings):
        raise raised

    monkeypatch.setattr(benchmarks, "bench_matrices", end)
    assert cli.main(["bench", "--json", str(tmp_path / "r.json")]) == status
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_flags_are_read_is_one_line_too(capsys, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_parser", stop)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "\nblockprune: stopped; what was whole is kept\n"


def test_a_reader_who_leaves_early_is_no_error():
    code = (
        "import sys\n"
        "from blockprune_lib import cli\n"
        "from blockprune_lib.cli import info\n"
        "info.run = lambda options: print('a long table\\n' * 100_000) or 0\n"
        "sys.exit(cli.main(['info']))\n"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"a long table\n"
        running.stdout.close()
        assert running.stderr.read() == b""
