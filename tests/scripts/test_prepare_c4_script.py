"""scripts/prepare_c4.py as a user runs it, interrupts it, kills it and runs out of disk."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from c4_corpus import Shown, a_request, contents, fresh, line_of, most_rows, write_files

from workloads_overrides.c4.corpus.run import prepare_corpus

LARGE = 3_000_000
SMALL_FILES = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({LARGE}, {LARGE}))
os.execv(sys.argv[1], sys.argv[1:])
"""
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prepare_c4.py"


class Corpus:
    """Files of C4, and the script over them in `tmp_path`."""

    def __init__(self, folder: Path) -> None:
        self.cwd = folder
        self.input = folder / "in"
        files = write_files(self.input, fresh(), documents=60)
        # The last file has so much that a pipe in another's place cannot soon have it.
        (path,) = self.input.glob("c4-train.00003*")
        path.write_bytes(path.read_bytes() + gzip.compress(line_of("z" * LARGE) + b"\n"))
        files["train"][3].append("z" * LARGE)
        self.rows = most_rows(files["train"]) - 1

    def undisturbed(self) -> dict[str, str]:
        """The digests of the result's files, made in this process."""
        request = a_request(self.input, self.cwd / "undisturbed", self.rows)
        prepare_corpus(request, Shown())
        return contents(request.folder)

    def command(self, out: str, *flags: str) -> list[str]:
        command = [sys.executable, str(SCRIPT), f"--input_dir={self.input}", f"--data_dir={out}"]
        return [*command, "--tokenizer=byte", f"--train_rows={self.rows}", "--eval_rows=1", *flags]

    def run(self, out: str, *flags: str) -> subprocess.CompletedProcess[str]:
        command = self.command(out, *flags)
        return subprocess.run(command, cwd=self.cwd, capture_output=True, text=True)

    def start(self, out: str, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(out, *flags),
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def parts(self, out: str) -> Path:
        return self.cwd / out / ".c4.partial" / "parts"


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


class Endless:
    """The third training file as a pipe that always has one more document, until `end`.

    They come so slowly that the reader has no block together, until `fast` is set.
    """

    def __init__(self, corpus: Corpus) -> None:
        (self.path,) = corpus.input.glob("c4-train.00002*")
        self.content = self.path.read_bytes()
        self.path.unlink()
        self.pipe = self.path.with_suffix("")  # not compressed
        os.mkfifo(self.pipe)
        self.fast = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        line = line_of("y" * 10_000) + b"\n"
        try:
            with self.pipe.open("wb", buffering=0) as pipe:
                while True:
                    pipe.write(line)
                    self.fast.wait(0.1)
        except OSError:
            pass  # nobody reads any more

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.pipe.unlink()
        self.path.write_bytes(self.content)


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_the_pipe_is_read(corpus: Corpus, out: str) -> dict[str, os.stat_result]:
    """Waits for the parts that come before; returns them."""
    parts = corpus.parts(out)
    wait_for(
        lambda: (parts / "train_00001.json").exists() and (parts / "train_00002.bin.tmp").exists()
    )
    names = ["train_00000.bin", "train_00001.bin", "validation_00000.bin", "test_00000.bin"]
    return {name: (parts / name).stat() for name in names}


def kept(corpus: Corpus, out: str, before: dict[str, os.stat_result]) -> bool:
    """Whether the training parts of `before` are the result's files, untouched."""
    names = [name for name in before if name.startswith("train")]
    found = {name: (corpus.cwd / out / "c4" / name).stat() for name in names}
    return all(
        (found[name].st_ino, found[name].st_mtime_ns)
        == (before[name].st_ino, before[name].st_mtime_ns)
        for name in names
    )


def test_one_and_two_processes_give_the_same_bytes(corpus):
    for out, jobs in (("one", 1), ("two", 2)):
        done = corpus.run(out, f"--jobs={jobs}")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        first, *_, last = done.stdout.splitlines()
        assert "tokens to make of about" in first
        assert last.startswith("c4: ")
        assert f"are in {out}/c4" in last
    assert contents(corpus.cwd / "one" / "c4") == contents(corpus.cwd / "two" / "c4")
    done = corpus.run("one", "--jobs=2")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        "one/c4 is there already, with all that c4_60m needs; source: kind jsonl"
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_in_the_middle(corpus, jobs):
    undisturbed = corpus.undisturbed()
    pipe = Endless(corpus)
    running = corpus.start("out", f"--jobs={jobs}")
    before = until_the_pipe_is_read(corpus, "out")
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= (0 if jobs == 1 else 2)
    running.kill()
    running.communicate()
    # The processes end by themselves, also those that wait for input.
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert not (corpus.cwd / "out" / "c4").exists()
    pipe.end()
    done = corpus.run("out", f"--jobs={3 - jobs}")
    assert done.returncode == 0, done.stderr
    assert "parts are finished already" in done.stdout
    assert contents(corpus.cwd / "out" / "c4") == undisturbed
    assert kept(corpus, "out", before)
    assert sorted(os.listdir(corpus.cwd / "out")) == [".c4.lock", "c4"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_by_ctrl_c(corpus, jobs):
    undisturbed = corpus.undisturbed()
    pipe = Endless(corpus)
    running = corpus.start("out", f"--jobs={jobs}")
    before = until_the_pipe_is_read(corpus, "out")
    second = corpus.run("out")
    assert second.returncode == 2
    assert "out/c4 is being prepared by another process" in second.stderr
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
    pipe.fast.set()
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert stderr == "interrupted: the same command keeps what is finished and goes on\n"
    assert not psutil.wait_procs(children, timeout=20)[1]
    pipe.end()
    assert corpus.run("out", f"--jobs={jobs}").returncode == 0
    assert contents(corpus.cwd / "out" / "c4") == undisturbed
    assert kept(corpus, "out", before)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, (done.stdout, done.stderr)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("jobs", [1, 2])
def test_files_that_may_not_grow_as_on_a_full_disk(corpus, jobs):
    command = [sys.executable, "-c", SMALL_FILES, *corpus.command("out", f"--jobs={jobs}")]
    done = subprocess.run(command, cwd=corpus.cwd, capture_output=True, text=True)
    line = error_of(done)
    written = corpus.parts("out") / "train_00003.bin.tmp"
    name = written.relative_to(corpus.cwd)
    assert line == (
        f"error: cannot prepare out/c4: File too large: {name}; what is finished is kept for the "
        "next call"
    )
    assert not written.exists()
    before = {"train_00000.bin": (corpus.parts("out") / "train_00000.bin").stat()}
    undisturbed = corpus.undisturbed()
    assert corpus.run("out").returncode == 0
    assert contents(corpus.cwd / "out" / "c4") == undisturbed
    assert kept(corpus, "out", before)


def test_a_disk_that_is_really_full(corpus):
    disk = corpus.cwd / "disk"
    disk.mkdir()
    # Enough for what is looked for before, which is taken away again.
    options = ["-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no file system to fill: {error}")
    if mounted.returncode:
        pytest.skip(f"no file system to fill: {mounted.stderr.strip()}")
    try:
        undisturbed = corpus.undisturbed()
        (disk / "filler").write_bytes(bytes(90 << 20))
        line = error_of(corpus.run("disk"))
        assert line.startswith("error: disk has 10 MB free, but about ")
        (disk / "filler").unlink()
        pipe = Endless(corpus)
        running = corpus.start("disk", "--jobs=2")
        until_the_pipe_is_read(corpus, "disk")
        with (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(1 << 20)) == 1 << 20:
                pass
        pipe.fast.set()
        _, stderr = running.communicate(timeout=30)
        assert running.returncode == 2
        assert stderr.startswith("error: cannot prepare disk/c4: No space left on device: disk/.c4")
        assert stderr.count("\n") == 1
        pipe.end()
        (disk / "filler").unlink()
        assert corpus.run("disk").returncode == 0
        assert contents(disk / "c4") == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_made(corpus):
    (corpus.cwd / "file").touch()
    line = error_of(corpus.run("file/out"))
    assert "cannot prepare file/out/c4: Not a directory: file/out" in line


def test_a_folder_that_may_not_be_written(corpus):
    if os.geteuid() == 0:
        # The superuser may write everywhere but there.
        line = error_of(corpus.run("/proc/c4_out"))
        assert "cannot prepare /proc/c4_out/c4: No such file or directory" in line
        return
    (corpus.cwd / "out").mkdir(mode=0o555)
    assert "Permission denied: out/.c4.lock" in error_of(corpus.run("out"))


def test_bad_lines(corpus):
    (path,) = corpus.input.glob("c4-train.00000*")
    path.write_bytes(gzip.compress(b'{"text": "\\ud800"}\n') + path.read_bytes())
    line = error_of(corpus.run("out"))
    assert f"{path}, line 1: not UTF-8 (the text's character 1 is a lone surrogate)" in line
    assert "--skip_bad_lines" in line
    done = corpus.run("out", "--skip_bad_lines")
    assert done.returncode == 0
    assert f"1 bad documents left out; the first: {path}, line 1: not UTF-8" in done.stdout
    meta = json.loads((corpus.cwd / "out" / "c4" / "meta.json").read_text())
    assert meta["skipped"] == {"train": 1, "validation": 0, "test": 0}
    assert meta["truncated_files"] == {"train": 0, "validation": 0, "test": 0}


def test_too_few_tokens_and_too_few_files(corpus):
    line = error_of(corpus.run("out", f"--train_rows={corpus.rows + 2}"))
    assert "too few tokens of train: " in line
    assert not (corpus.cwd / "out" / "c4").exists()
    for path in list(corpus.input.glob("c4-validation*"))[1:]:
        path.unlink()
    line = error_of(corpus.run("other"))
    assert "has 1 files of the validation split: two are needed" in line


def test_verify(corpus):
    assert corpus.run("out").returncode == 0
    done = corpus.run("out", "--verify")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "c4: out/c4 is undamaged"
    path = corpus.cwd / "out" / "c4" / "train_00001.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 4
    path.write_bytes(content)
    done = corpus.run("out", "--verify")
    assert (done.returncode, done.stderr) == (1, "")
    assert "out/c4/train_00001.bin is damaged (sha256" in done.stdout
    assert "undamaged" not in done.stdout
    shutil.rmtree(corpus.cwd / "out")
    assert "out/c4/meta.json is missing" in error_of(corpus.run("out", "--verify"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--tokenizer=t5"], "--tokenizer=t5 needs --tokenizer_path"),
        (["--tokenizer=t5", "--tokenizer_path=no.model"], "cannot read the tokenizer no.model"),
        (["--input_dir="], "--source=jsonl needs --input_dir"),
        (["--input_dir=nowhere"], "cannot read nowhere: No such file"),
        (["--workload=c4_small"], "--workload=c4_small: value should be one of <c4_60m|c4|"),
        (["--layout=loose"], "value should be one of <packed|truncated>"),
        (["--jobs=0"], "--jobs=0"),
        (["--train_rows=0"], "--train_rows=0"),
    ],
)
def test_flags_that_will_not_do(corpus, flags, told):
    assert told in error_of(corpus.run("out", *flags))
    assert not (corpus.cwd / "out" / "c4").exists()
