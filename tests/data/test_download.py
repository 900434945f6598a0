"""Downloads: verified, continued where they stopped, unpacked; no incomplete file gets its name."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mtlbench.contract.dataset import Download
from mtlbench.data.download import fetch
from mtlbench.errors import UserError

CONTENT = bytes(range(256)) * 4000
PACKED = gzip.compress(CONTENT, mtime=0)


class Server(BaseHTTPRequestHandler):
    """Serves two files, with ranges below /ranges/; remembers what it was asked for."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append((self.path, wanted))
        body = {"file": CONTENT, "file.gz": PACKED}.get(self.path.rsplit("/", 1)[-1])
        if body is None:
            self.send_error(404)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and "ranges" in self.path else 0
        if begin >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        self.wfile.write(body[begin : begin + 5000] if "short" in self.path else body[begin:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def of(*addresses: str, path: str = "raw/file", content: bytes = CONTENT) -> Download:
    return Download(addresses, path, hashlib.md5(content).hexdigest())


def test_a_file_is_downloaded_once_and_progress_is_reported(server: str, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    download = of(f"{server}/plain/file")
    path = fetch(download, tmp_path, lambda *call: calls.append(call))
    assert path == tmp_path / "raw" / "file" and path.read_bytes() == CONTENT
    assert calls[-1] == ("file", len(CONTENT), len(CONTENT)) and fetch(download, tmp_path) == path and len(Server.asked) == 1


@pytest.mark.parametrize("path", ["../file", "raw/../../file", "/etc/file", ""])
def test_a_path_outside_the_folder_is_refused(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="below the folder"):
        fetch(of(f"{server}/plain/file", path=path), tmp_path / "data")
    assert not Server.asked and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["ranges", "plain"])
@pytest.mark.parametrize("begun", [1000, len(CONTENT)])
def test_an_interrupted_download_is_taken_up(server: str, tmp_path: Path, kind: str, begun: int) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "file.part").write_bytes(CONTENT[:begun])
    assert fetch(of(f"{server}/{kind}/file"), tmp_path).read_bytes() == CONTENT
    assert Server.asked == [(f"/{kind}/file", f"bytes={begun}-")] and not list(tmp_path.rglob("*.part"))


def test_packed_files_are_unpacked(server: str, tmp_path: Path) -> None:
    path = fetch(of(f"{server}/plain/file.gz", path="raw/file.gz", content=PACKED), tmp_path)
    assert path.name == "file" and path.read_bytes() == CONTENT


def test_what_a_broken_connection_left_is_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ended after 5,000 of 1,024,000 bytes|IncompleteRead"):
        fetch(of(f"{server}/short/file"), tmp_path)
    assert 0 < (tmp_path / "raw" / "file.part").stat().st_size <= 5000
    assert fetch(of(f"{server}/short/file", f"{server}/ranges/file"), tmp_path).read_bytes() == CONTENT


def test_the_next_address_is_tried_and_failures_are_explained(server: str, tmp_path: Path) -> None:
    assert fetch(of(f"{server}/gone", f"{server}/plain/file"), tmp_path).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"could not be downloaded .*gone: Not Found.*checksum"):
        fetch(of(f"{server}/gone", f"{server}/plain/file", path="other", content=b"x"), tmp_path)
    assert not (tmp_path / "other").exists() and not (tmp_path / "other.part").exists()
