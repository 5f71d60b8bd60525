"""Downloads from a server in this process that breaks, lies and stalls."""

from __future__ import annotations

import hashlib
import http.server
import io
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from basewise.data import download as downloading
from basewise.data.download import checksum, download
from basewise.data.fetch import PUBLISHED, fetch
from basewise.data.unpack import unpack
from basewise.errors import ConfigError, DataError, StoreError, UnknownName

BODY = bytes(range(256)) * 4000  # 1 MB


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `breaks` says after how many bytes each coming answer stops."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.ranges: list[str | None] = []
        self.resumes = True
        self.kind = "application/octet-stream"
        self.stalled = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.files.get(self.path.lstrip("/"))
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.statuses or body is None:
            self.send_error(self.server.statuses.pop(0) if self.server.statuses else 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        start = start if self.server.resumes else 0
        if start >= len(body) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        stop = self.server.breaks.pop(0) if self.server.breaks else len(body)
        self.wfile.write(body[start : start + abs(stop)])
        if stop < 0:  # neither goes on nor hangs up
            self.wfile.flush()
            self.server.stalled.wait(20)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloading, "_WAIT", 0.001)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.stalled.set()
        made.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_checksums_are_those_of_other_tools(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"hello\n")
    # printf 'hello\n' | sha256sum; printf 'hello\n' | git hash-object --stdin
    assert checksum(tmp_path / "a", "sha256") == (
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    assert checksum(tmp_path / "a", "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_file_comes_whole_and_only_once(server: Server, tmp_path: Path):
    server.files["a"] = BODY
    told: list[tuple[int, int | None]] = []
    for _ in range(2):
        download(
            server.url + "a", tmp_path / "x" / "a", sha256(BODY), progress=lambda *n: told.append(n)
        )
    assert (tmp_path / "x" / "a").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert len(server.ranges) == 1
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]


def test_a_broken_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path):
    server.files["a"] = BODY
    server.breaks = [300_000, 0, 500_000]
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=800000-"]


def test_a_server_that_cannot_resume_begins_anew(server: Server, tmp_path: Path):
    server.files["a"], server.breaks, server.resumes = BODY, [300_000], False
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_passing_fault_of_the_server_is_waited_for(server: Server, tmp_path: Path):
    server.files["a"], server.statuses = BODY, [503, 429]
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert len(server.ranges) == 3


def test_without_any_progress_the_tries_end_and_the_piece_stays(server: Server, tmp_path: Path):
    server.files["a"], server.breaks = BODY, [300_000, 0, 0, 0, 0]
    with pytest.raises(DataError, match=r"the connection broke at byte 300000\. .*again to go on"):
        download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert (tmp_path / "a.part").read_bytes() == BODY[:300_000]
    server.breaks = []
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert server.ranges[-1] == "bytes=300000-"


def test_a_process_killed_in_the_middle_is_gone_on_with(server: Server, tmp_path: Path):
    server.files["a"], server.breaks = BODY, [-400_000]
    script = (
        "import sys; from pathlib import Path; from basewise.data.download import download;"
        "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    target = tmp_path / "a"
    command = [sys.executable, "-c", script, server.url + "a", str(target), sha256(BODY)]
    with subprocess.Popen(command) as process:
        part = tmp_path / "a.part"
        for _ in range(2000):
            if part.exists() and part.stat().st_size >= 262_144:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = part.stat().st_size
    assert kept >= 262_144
    assert not target.exists()
    download(server.url + "a", target, sha256(BODY))
    assert target.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={kept}-"]


def test_another_checksum_is_refused_and_can_be_accepted_without_a_download(
    server: Server, tmp_path: Path
):
    server.files["a"] = BODY
    (tmp_path / "a").write_bytes(b"earlier")
    with pytest.raises(
        DataError, match=rf"gave 1024000 bytes with {sha256(BODY)}".replace(":", " ")
    ):
        download(server.url + "a", tmp_path / "a", sha256(b"other"))
    assert (tmp_path / "a").read_bytes() == b"earlier"
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert (tmp_path / "a").read_bytes() == BODY
    assert len(server.ranges) == 1


def test_a_piece_of_another_file_is_thrown_away(server: Server, tmp_path: Path):
    server.files["a"] = BODY[:1000]
    (tmp_path / "a.part").write_bytes(b"x" * 5000)
    download(server.url + "a", tmp_path / "a", sha256(BODY[:1000]))
    assert server.ranges == ["bytes=5000-", None]


def test_a_piece_that_is_complete_is_taken(server: Server, tmp_path: Path):
    server.files["a"] = BODY
    (tmp_path / "a.part").write_bytes(BODY)
    download(server.url + "a", tmp_path / "a", sha256(BODY))
    assert (tmp_path / "a").read_bytes() == BODY


def test_what_cannot_be_had_is_said(server: Server, tmp_path: Path):
    server.files["a"] = BODY
    with pytest.raises(DataError, match="cannot be downloaded: the server answered 404 Not Found"):
        download(server.url + "b", tmp_path / "a", sha256(BODY))
    with pytest.raises(DataError, match="is larger than the 1000 bytes allowed"):
        download(server.url + "a", tmp_path / "a", sha256(BODY), limit=1000)
    server.kind = "text/html"
    with pytest.raises(DataError, match="sent a web page, not a file; open it in a browser"):
        download(server.url + "a", tmp_path / "a", sha256(BODY))
    with pytest.raises(DataError, match="'ftp://x/a' is not an address that begins with http"):
        download("ftp://x/a", tmp_path / "a", sha256(BODY))
    with pytest.raises(DataError, match=r"cannot be downloaded: .*No such file"):
        download((tmp_path / "none").as_uri(), tmp_path / "a", sha256(BODY))
    server.kind = "application/zip"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: "):
        download(server.url + "a", tmp_path / "file" / "a", sha256(BODY))


def zipped(members: dict[str, bytes | str], links: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            file.writestr(info, content)
    return buffer.getvalue()


GUE = {
    "GUE/prom/a/train.csv": "sequence,label\nACGT,0\n",
    "GUE/prom/a/test.csv": "sequence,label\nACGG,1\n",
    "GUE/run.sh": "rm -rf /",
    "__MACOSX/GUE/._train.csv": "x",
}


def test_an_archive_is_fetched_unpacked_and_not_fetched_again(server: Server, tmp_path: Path):
    archive = zipped(GUE)
    server.files["gue.zip"], server.breaks = archive, [100]
    for _ in range(2):
        paths = fetch("gue", tmp_path, url=server.url + "gue.zip", sha256=sha256(archive))
        assert paths == [tmp_path / "prom/a/test.csv", tmp_path / "prom/a/train.csv"]
    assert len(server.ranges) == 2
    assert paths[1].read_text() == GUE["GUE/prom/a/train.csv"]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "gue.json", "test.csv", "train.csv",
    ]  # fmt: skip
    paths[0].unlink()
    fetch("gue", tmp_path, url=server.url + "gue.zip", sha256=sha256(archive)[7:].upper())
    assert paths[0].exists()


def test_an_archive_saved_by_a_browser_is_taken(tmp_path: Path):
    saved = tmp_path / "saved.zip"
    saved.write_bytes(zipped(GUE))
    paths = fetch("gue", tmp_path / "x", url=saved.as_uri(), sha256=sha256(saved.read_bytes()))
    assert len(paths) == 2


def test_the_known_checksum_is_demanded(server: Server, tmp_path: Path):
    server.files["gue.zip"] = zipped(GUE)
    with pytest.raises(DataError, match="but 581ba5a69843"):
        fetch("gue", tmp_path, url=server.url + "gue.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["gue.zip.refused"]
    with pytest.raises(ConfigError, match="sha256 = 'abc': 64 hexadecimal digits"):
        fetch("gue", tmp_path, sha256="abc")
    with pytest.raises(UnknownName, match=r"named 'gue_promoter'\. Did you mean 'gue_promoters'"):
        fetch("gue_promoter", tmp_path)


def test_single_files_are_fetched_with_their_own_checksums(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dataclasses import replace

    git = "git:ce013625030ba8dba906f756967f9e9ca394464a"
    files = {"a/b.csv": sha256(BODY), "c.csv": git}
    known = {"gue_promoters": replace(PUBLISHED["gue_promoters"], files=files)}
    monkeypatch.setattr("basewise.data.fetch.PUBLISHED", known)
    server.files = {"x/a/b.csv": BODY, "x/c.csv": b"hello\n"}
    for _ in range(2):
        paths = fetch("gue_promoters", tmp_path, url=server.url + "x/")
    assert [path.read_bytes() for path in paths] == [BODY, b"hello\n"]
    assert len(server.ranges) == 2
    with pytest.raises(ConfigError, match="sha256 is for an archive"):
        fetch("gue_promoters", tmp_path, sha256="0" * 64)


def test_the_table_of_published_data_is_well_formed():
    for known in PUBLISHED.values():
        assert known.url.startswith("https://")
        assert known.licence
        for expected in [known.archive] if known.files is None else known.files.values():
            kind, _, digits = expected.partition(":")
            assert len(bytes.fromhex(digits)) == {"sha256": 32, "git": 20}[kind]


@pytest.mark.parametrize(
    ("members", "links", "message"),
    [
        ({"../evil.csv": "x"}, (), r"'\.\./evil.csv' leads out of the folder"),
        ({"a/../../evil.csv": "x"}, (), "leads out of the folder"),
        ({"..\\evil.csv": "x"}, (), "leads out of the folder"),
        ({"/tmp/evil.csv": "x"}, (), "leads out of the folder"),
        ({"C:\\evil.csv": "x"}, (), "leads out of the folder"),
        ({"ok.csv": "x", "link.csv": "/etc/passwd"}, ("link.csv",), "'link.csv' is a link"),
        ({"ok.csv": "x", "a": "/etc"}, ("a",), "'a' is a link"),
        ({"x/a.csv": "1", "x\\a.csv": "2"}, (), "comes twice"),
        ({"big.csv": b"A" * 3_000_000}, (), "unpacks to 3000000 bytes, more than the 1000000"),
        ({"a.txt": "x"}, (), "holds no CSV file"),
    ],
)
def test_archives_that_cannot_be_trusted_write_nothing(tmp_path, members, links, message):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped(members, links))
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "out", limit=1_000_000)
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_broken_archives_are_refused(tmp_path: Path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"a.csv": "x" * 999})[:-30])
    with pytest.raises(DataError, match="not a whole zip archive"):
        unpack(archive, tmp_path / "out")
    content = bytearray(zipped({"a.csv": "ACGTTGCA" * 99}))
    content[40] ^= 0xFF  # within the compressed bytes
    archive.write_bytes(content)
    with pytest.raises(DataError, match="not a whole zip archive"):
        unpack(archive, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*.csv*") if path.is_file()]
    encrypted = bytearray(zipped({"a.csv": "x"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + flags] |= 1
    archive.write_bytes(encrypted)
    with pytest.raises(DataError, match=r"'a\.csv' is encrypted"):
        unpack(archive, tmp_path / "out")
