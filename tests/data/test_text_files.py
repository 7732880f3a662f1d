"""Files of text against Python's own readers, whatever stands in their cells."""

import csv
import io
import json
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blockprune_lib.data.text_files import read_columns

LETTERS = "\"'\t,; \\ab\u2028\u0085é木\x0b\x1c\x00\ufeff"


def cells(letters):
    """Any text, and short text of the letters that readers trip over."""
    return st.one_of(st.text(st.sampled_from(letters), max_size=6), st.text(st.characters(codec="utf-8"), max_size=8))


def tables(letters=LETTERS):
    """A header of names that differ, and rows as long as it."""

    def rows_for(header):
        row = st.lists(cells(letters), min_size=len(header), max_size=len(header))
        return st.tuples(st.just(header), st.lists(row, max_size=6))

    header = st.lists(st.text("abc_ ", min_size=1, max_size=5), min_size=2, max_size=4, unique=True)
    return header.flatmap(rows_for)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")

    def of(suffix, text, mark=b""):
        path = folder / f"rows{suffix}"
        path.write_bytes(mark + text.encode())
        return read_columns(path)

    return of


def without_stray_ends(rows, end):
    """A csv writer leaves a line end that is not its own unquoted, and no reader can tell it from the end of a row."""
    strays = dict.fromkeys(map(ord, {"\n", "\r"} - set(end)), " ")
    return [[cell.translate(strays) for cell in row] for row in rows]


def columns_of(header, rows):
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


@given(tables(LETTERS + "\n\r"), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([0, 1]), st.booleans())
def test_a_csv_as_pythons_own_reader_has_it(read, table, end, quoting, mark):
    header, rows = table
    rows = without_stray_ends(rows, end)
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=end, quoting=quoting).writerows([header, *rows])
    found = read(".csv", written.getvalue(), b"\xef\xbb\xbf" if mark else b"")
    again = list(csv.DictReader(io.StringIO(written.getvalue(), newline="")))
    assert found == columns_of(header, rows) == {name: [row[name] for row in again] for name in header}


@given(
    tables(LETTERS.replace("\t", "").replace('"', "")), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans()
)
def test_a_tsv_without_marks_as_it_is(read, table, end, last, mark):
    header, rows = table
    clean = [[cell.translate(dict.fromkeys(map(ord, '\t\n\r"'), "")) for cell in row] for row in rows]
    text = end.join("\t".join(row) for row in [header, *clean]) + end * last
    again = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    found = read(".tsv", text, b"\xef\xbb\xbf" if mark else b"")
    assert found == columns_of(header, clean) == columns_of(header, again[1:])


@given(st.lists(st.tuples(st.text('"ab ', max_size=5), st.integers(0, 2)), min_size=1, max_size=8))
@example([('"unfinished', 0), ("it rains", 1), ('so he left"', 1)])
@example([('"a', 0), ('b"', 1)])
def test_marks_in_a_tsv_are_letters_and_every_row_counts(read, rows):
    text = "s\tlabel\n" + "".join(f"{cell} .\t{label}\n" for cell, label in [*rows, ('5" and', 1)])
    found = read(".tsv", text)  # a cell with a mark and without quotes: no writer makes this
    assert found["s"] == [f"{cell} ." for cell, _ in rows] + ['5" and .']
    assert found["label"] == [str(label) for _, label in rows] + ["1"]


@given(tables(LETTERS + "\n\r"), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]))
def test_a_tsv_that_a_csv_writer_made(read, table, quoting, end):
    header, rows = table
    rows = [
        *without_stray_ends(rows, end),
        ["said 'no'\tor \"yes\"\n"] * len(header),
    ]  # makes it plain that cells are quoted
    written = io.StringIO(newline="")
    csv.writer(written, delimiter="\t", lineterminator=end, quoting=quoting).writerows([header, *rows])
    assert read(".tsv", written.getvalue()) == columns_of(header, rows)


JSON_VALUES = st.one_of(cells(LETTERS + "\n\r"), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())


@given(
    st.lists(st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON_VALUES), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_json_lines_as_pythons_own_reader_has_them(read, rows, ascii_only, mark):
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    names = {name for row in rows for name in row}
    wanted = {name: [row.get(name) for row in map(json.loads, lines)] for name in names}
    for suffix, text in ((".jsonl", "\n".join(lines)), (".jsonl", "\r\n".join([*lines, ""])),
                         (".json", json.dumps(rows, ensure_ascii=ascii_only, indent=1))):  # fmt: skip
        assert read(suffix, text, b"\xef\xbb\xbf" if mark else b"") == wanted


# --- any text at all: what is no table is refused, and what is read is what Python's own readers read

ENDS = '\n\r,\t"; a1' + LETTERS


def rectangle(rows):
    """{column: cells} of rows that are one, the first its header; None where they are not."""
    header, *rows = [row for row in rows if row]
    fits = len(set(header)) == len(header) and all(len(row) == len(header) for row in rows)
    return columns_of(header, rows) if fits else None


def read_or_refused(read, suffix, text, mark):
    try:
        return read(suffix, text, b"\xef\xbb\xbf" if mark else b"")
    except ValueError:
        return None


def by_csv(text, **how):
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True, **how))
    except csv.Error:
        return None


@settings(max_examples=400)
@given(
    st.text(ENDS, max_size=40),
    st.sampled_from(["a,b\n", "a,b\r\n", '"a","b"\n', "a,b,c\r", '"a\nb",c\n']),
    st.booleans(),
)
@example('x,"y\r\nz"\r', "a,b\r\n", False)
@example('"x""",""\n\n,\n', "a,b\n", True)
@example('"x"y,1\n', "a,b\n", False)
def test_any_text_as_csv(read, text, header, mark):
    rows = by_csv(header + text)
    assert read_or_refused(read, ".csv", header + text, mark) == (None if rows is None else rectangle(rows))


@settings(max_examples=400)
@given(st.text(ENDS, max_size=40), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example('"x\ty"\t1\n', "\n", False)
@example('"x"\t1\n"y"\t2', "\n", True)
@example('"', "\r\n", False)
def test_any_text_as_tsv(read, text, end, mark):
    text = f"a\tb{end}" + text.replace("\r", "").replace("\n", end)
    plain = [line.split("\t") if line else [] for line in text.split(end)]
    found = read_or_refused(read, ".tsv", text, mark)
    if '"' not in text:
        assert plain == [*by_csv(text, delimiter="\t", quoting=csv.QUOTE_NONE), *[[]] * (len(plain))][: len(plain)]
        assert found == rectangle(plain)
        return
    quoted = by_csv(text, delimiter="\t")
    assert found in [rectangle(plain), None if quoted is None else rectangle(quoted)]
    if rectangle(plain) is not None:  # rows that are whole as they are written are never fewer, and never refused
        assert found is not None
        assert len(found["a"]) == len(rectangle(plain)["a"])


@settings(max_examples=300)
@given(
    st.lists(st.one_of(
        st.dictionaries(st.text("ab", max_size=1), JSON_VALUES).map(lambda row: json.dumps(row, ensure_ascii=False)),
        st.text('{}[]":, a1', max_size=8), st.sampled_from(["", " ", "{}", "null", '{"a":1,"a":2}', "{'a': 1}", "NaN"]),
    ), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n"]), st.booleans(),
)  # fmt: skip
def test_any_lines_as_json(read, lines, end, mark):
    lines = ['{"a": 0}', *lines]  # so that it is no list
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
        wanted = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    except (ValueError, AttributeError, TypeError):
        wanted = None
    if wanted is not None and not all(isinstance(row, dict) for row in rows):
        wanted = None
    assert repr(read_or_refused(read, ".jsonl", end.join(lines), mark)) == repr(wanted)


@pytest.mark.parametrize("length", [131_073, 3_000_000])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_cells_of_any_length(read, suffix, length):
    long = "word " * (length // 5 + 1)
    text = {
        ".csv": f's,label\n"{long}",1\n',
        ".tsv": f's\tlabel\n{long}\t1\n', ".jsonl": json.dumps({"s": long, "label": "1"})
    }[suffix]  # fmt: skip
    assert read(suffix, text) == {"s": [long], "label": ["1"]}
    assert csv.field_size_limit() == 131_072  # the process's own setting is as it was


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_long_cells_full_of_what_readers_trip_over(read, suffix):
    cell = 'she said: "no",\tor\u2028\x85\nnot\r\n' * 9_000
    written = io.StringIO(newline="")
    csv.writer(written, delimiter="," if suffix == ".csv" else "\t", lineterminator="\r\n").writerows(
        [["s", "label"], [cell, "1"], ["", "0"], [cell, ""]]
    )
    assert read(suffix, written.getvalue(), b"\xef\xbb\xbf") == {"s": [cell, "", cell], "label": ["1", "0", ""]}


def test_files_read_on_several_threads_at_once(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('s,label\n"' + "x" * 400_000 + '",1\n')
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(read_columns(path)["s"][0]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [400_000] * 4
