"""One file from one address, in pieces if need be, and of one version."""

import errno
import glob
import json
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError, ReadTimeoutError

from robustseg.addresses import quoted
from robustseg.errors import RobustsegError
from robustseg.files import file_hash
from robustseg.progress import Progress

SPARE_BYTES = 64 * 2**20
"""Left free on the disk. ASSUME: enough for the logs of what runs beside."""
REDIRECTS = 10
"""From one address to the next, after which an address is given up."""
MIB = 2**20
AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
"""What a server answers, besides errors of its own, when it may be asked again later."""
PAGE = re.compile(rb"\s*<(!doctype|!--|\?xml|html|head|body|script)", re.IGNORECASE)
"""How a web page begins, or what a server says in XML."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked again.

    A connection that brings fewer bytes than `least_bytes_per_s` in `window_s`, or altogether, has
    failed, however many it may still bring.
    """

    silence_s: float = 60.0
    """Silence after which a connection is given up."""
    window_s: float = 60.0
    least_bytes_per_s: float = 500.0
    """ASSUME: a gigabyte would take three weeks."""
    tries: int = 4
    """Connections that fail in a row, after which a server is given up."""
    pause_s: float = 1.0
    """Wait before the next connection; twice as long after each one that fails."""
    longest_pause_s: float = 300.0
    """A server that asks for a longer pause is given up."""


PATIENT = Patience()


class UnusableError(Exception):
    """An address does not give the wanted file; why, as a predicate.

    Attributes:
        passing: whether it may be otherwise later.
        pause_s: after which the server wants to be asked again.
    """

    def __init__(self, why: str, *, passing: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(why)
        self.passing, self.pause_s = passing, pause_s


def _broken(why: str, pause_s: float = 0.0) -> UnusableError:
    """Return that a connection has failed, after which another one may not."""
    return UnusableError(why, passing=True, pause_s=pause_s)


@dataclass(frozen=True)
class Wanted:
    """What makes a file the wanted one."""

    size_bytes: int | None
    limit_bytes: int
    hash: tuple[str, str] | None
    """Algorithm and value."""
    whose: str
    """Who expects the hash, and what to do if it is to be another."""

    def problem(self, path: Path) -> str | None:
        """Return why a whole file is not the wanted one, as a predicate; None if it is."""
        size = _size(path)
        if self.size_bytes not in (None, size):
            return f"has {size:,} bytes instead of {self.size_bytes:,}"
        if not size:
            return "is empty"
        algorithm, expected = self.hash or ("sha256", None)
        found = expected and file_hash(path, algorithm)
        if expected and found == expected:
            return None
        with path.open("rb") as file:
            if PAGE.match(file.read(1024).removeprefix(b"\xef\xbb\xbf")):
                return "is a web page instead of the file"
        return expected and f"has {algorithm} {found}, but {expected} is expected{self.whose}"


@dataclass(frozen=True)
class Version:
    """What tells a file on a server from an earlier or later one of the same address."""

    validator: str | None = None
    """For the header If-Range: its ETag, or else when it was last modified."""
    size_bytes: int | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], size_bytes: int | None) -> "Version":
        """Return the version that an answer is of."""
        tag = headers.get("ETag", "")
        # A weak one (W/) may be the same for files whose bytes differ.
        validator = tag if tag.startswith('"') else headers.get("Last-Modified")
        return cls(validator, size_bytes)

    def differs(self, other: "Version") -> bool:
        """Return whether both say something, and not the same."""
        mine, theirs = asdict(self).values(), asdict(other).values()
        return any(
            a != b for a, b in zip(mine, theirs, strict=True) if a is not None and b is not None
        )


class Session(requests.Session):
    """Follows no redirection by itself, for which it would read an answer of any length."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None."""
        return None


class Download:
    """Continues the partial file of an address, which becomes `path` once it is the wanted one.

    The partial file keeps its name until then, and beside it is kept which version it is of.
    """

    def __init__(
        self, path: Path, url: str, wanted: Wanted, progress: Progress, patience: Patience
    ) -> None:
        self.path, self.url, self.wanted = path, url, wanted
        self.progress, self.patience = progress, patience
        self.partial = partial_path(path, url)
        self.notes = self.partial.with_name(f"{self.partial.name}.json")
        self.pieced = _size(self.partial) > 0
        """Whether it came over more than one connection."""

    def take(self) -> None:
        """Download the file and give it its name.

        Raises:
            UnusableError: the address does not give the wanted file.
        """
        self._obtain()
        problem = self.wanted.problem(self.partial)
        if problem and self.pieced:
            self._discard()
            self.progress.say(f"{self.url} {problem}: begin anew, since it came in pieces")
            self._obtain()
            problem = self.wanted.problem(self.partial)
        if problem:
            self._discard()
            raise UnusableError(problem)
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)
        remove_partials(self.path)

    def _obtain(self) -> None:
        """Complete the partial file."""
        self.progress.say(f"download {self.url}")
        try:
            url = quoted(self.url)
            if urlsplit(url).scheme == "file":
                self._copy(url)
            else:
                self._receive_patiently(url)
        except ValueError as error:
            raise UnusableError(f"is not an address that can be used ({error})") from error

    def _discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _copy(self, url: str) -> None:
        if urlsplit(url).netloc not in ("", "localhost"):
            raise UnusableError("names another machine; a file of this one is file:///its/path")
        source = Path(url2pathname(urlsplit(url).path))
        if not source.is_file():
            raise UnusableError("does not exist")
        try:
            file = source.open("rb")
        except OSError as error:
            raise UnusableError(f"cannot be read ({error.strerror})") from error
        with file:
            size_bytes = source.stat().st_size
            self._check_size(size_bytes)
            self._begin(Version())
            self._write(iter(lambda: file.read(MIB), b""), 0, size_bytes)

    def _receive_patiently(self, url: str) -> None:
        """Receive the file, over several connections if they break."""
        failed, furthest, least = 0, _size(self.partial), self.patience.least_bytes_per_s
        while not self._is_whole():
            began = time.monotonic()
            try:
                self._receive(url)
                return
            except UnusableError as error:
                if not error.passing or error.pause_s > self.patience.longest_pause_s:
                    raise
                size = _size(self.partial)
                seconds = time.monotonic() - began + self.patience.pause_s
                failed = failed + 1 if size - furthest <= least * seconds else 0
                furthest = max(furthest, size)
                if failed == self.patience.tries:
                    raise
                pause_s = max(error.pause_s, self.patience.pause_s * 2**failed)
                at = f"at {size:,} bytes: go on in {pause_s:g} s"
                self.progress.say(f"{self.url} {error} {at}")
                time.sleep(pause_s)

    def _is_whole(self) -> bool:
        return self._kept().size_bytes == _size(self.partial) > 0

    def _kept(self) -> Version:
        """Return which version the partial file is of."""
        try:
            return Version(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Version()

    def _begin(self, version: Version) -> None:
        """Throw away what was received and note of which version the next bytes are."""
        with _open(self.partial) as file:
            file.truncate(0)
        with _open(self.notes) as file:
            file.truncate(0)
            file.write(json.dumps(asdict(version)).encode())

    def _receive(self, url: str) -> None:
        """Receive what follows the bytes that are there, or all where that cannot be right."""
        start, kept = _size(self.partial), self._kept()
        if not (kept.validator or self.wanted.hash):
            start = 0  # nothing would tell that the file has changed meanwhile
        # Bytes as they lie on the server: a compressed answer could not be continued.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if kept.validator:
                headers["If-Range"] = kept.validator
        with self._answer(url, headers) as response:
            status = response.status_code
            if start and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._accept_whole(response, start, kept)
                return
            self._check_answer(response)
            self.pieced = status == HTTPStatus.PARTIAL_CONTENT
            start = start if self.pieced else 0
            total = self._total(response, start)
            version = Version.of(response.headers, total)
            if self.pieced:
                self._check_version(kept, version)
            self._check_size(total)
            if not self.pieced:
                self._begin(version)
            self._write(self._received(response), start, total or self.wanted.size_bytes)

    def _total(self, response: requests.Response, start: int) -> int | None:
        """Return the size of the whole file if an answer says it.

        Raises:
            UnusableError: it is not the answer to the question for what follows `start`.
        """
        span = response.headers.get("Content-Range", "")
        if self.pieced and not (start and span.startswith(f"bytes {start}-")):
            raise UnusableError("answers with another part of the file than was asked for")
        length, end = response.headers.get("Content-Length", ""), span.rpartition("/")[2]
        if self.pieced and end.isdecimal():
            return int(end)
        return start + int(length) if length.isdecimal() else None

    def _answer(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Return an answer whose content is still to be read, after redirections.

        Raises:
            UnusableError: there is none.
        """
        silence_s = self.patience.silence_s
        session = Session()
        for _ in range(REDIRECTS):

            def ask(address: str = url) -> requests.Response:
                return session.get(address, headers=headers, stream=True, timeout=silence_s)

            try:
                # `timeout` is of each piece of an answer's head, of which there may be many.
                response = _within(2 * silence_s, ask)
            except TimeoutError as error:
                raise _broken(f"did not answer within {2 * silence_s:g} s") from error
            except (requests.RequestException, HTTPError) as error:
                raise self._failure(error) from error
            except OSError as error:  # REQUESTS_CA_BUNDLE names no file
                raise UnusableError(f"cannot be asked ({error})") from error
            if not response.is_redirect:
                return response
            location = response.headers["Location"].encode("latin-1").decode("utf-8", "replace")
            url = urljoin(url, re.sub(r"\s", "%20", location.strip()))
            response.close()
        raise UnusableError("leads from one address to the next without end")

    def _failure(self, error: Exception) -> UnusableError:
        """Return what an error of requests or urllib3 says about an address."""
        if isinstance(error, ValueError):
            proxy = f"{_proxy(self.url)}: " if _proxy(self.url) else ""
            return UnusableError(f"is not an address that can be used ({proxy}{error})")
        if isinstance(error, requests.exceptions.ProxyError):
            return _broken(f"could not be reached {_proxy(self.url)}")
        if isinstance(error, requests.exceptions.SSLError):
            return UnusableError("has no valid certificate")
        if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
            return _broken(f"was silent for {self.patience.silence_s:g} s")
        return _broken("could not be reached or broke the connection")

    def _check_answer(self, response: requests.Response) -> None:
        """Refuse an answer that is not the file.

        Raises:
            UnusableError: always, unless it is.
        """
        status, headers = response.status_code, response.headers
        if status in AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            pause_s = _pause(headers.get("Retry-After", ""))
            later = f", to be asked again in {pause_s:.0f} s" if pause_s else ""
            raise _broken(f"answers {status} {response.reason}{later}", pause_s)
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise UnusableError(f"answers {status} {response.reason}")
        kind = headers.get("Content-Type", "").strip().lower()
        if kind.startswith(("text/html", "application/xhtml")):
            raise UnusableError("answers with a web page instead of the file")

    def _check_version(self, kept: Version, found: Version) -> None:
        """Throw the partial file away if the server goes on with another version.

        Raises:
            UnusableError: it does.
        """
        if kept.differs(found):
            self._discard()
            raise _broken("has changed meanwhile")

    def _accept_whole(self, response: requests.Response, start: int, kept: Version) -> None:
        """Take the partial file for whole if the server says that it ends there."""
        end = response.headers.get("Content-Range", "").rpartition("/")[2]
        total = int(end) if end.isdecimal() else None
        self._check_version(kept, Version.of(response.headers, total))
        if total != start:
            self._discard()
            raise _broken("has less than was received before")

    def _received(self, response: requests.Response) -> Iterator[bytes]:
        """Yield bytes as they arrive, while there are enough of them.

        Raises:
            UnusableError: the connection breaks, or brings too few.
        """
        since, brought = time.monotonic(), 0
        least = self.patience.least_bytes_per_s
        while True:
            try:
                block = response.raw.read1(MIB, decode_content=False)
            except HTTPError as error:
                raise self._failure(error) from error
            if not block:
                return
            yield block
            brought += len(block)
            seconds = time.monotonic() - since
            if seconds >= self.patience.window_s:
                if brought < least * seconds:
                    raise _broken(f"sends less than {least:g} bytes a second")
                since, brought = time.monotonic(), 0

    def _write(self, blocks: Iterator[bytes], start: int, total: int | None) -> None:
        """Write bytes to the partial file, from byte `start` on, as they come.

        Raises:
            UnusableError: they end before `total`, or do not fit what is known of the file.
        """
        self._check_disk((total or start) - start)
        with _open(self.partial) as file:
            file.seek(start)
            written = self._mebibytes(blocks, file, start)
            mebibytes = None if total is None else total // MIB
            for _ in self.progress.track(written, mebibytes, "MiB", before=start // MIB):
                self._check_disk(0)
        if total is not None and _size(self.partial) < total:
            raise _broken("ended too early")

    def _mebibytes(self, blocks: Iterator[bytes], file: IO[bytes], size: int) -> Iterator[None]:
        """Write blocks; yield after each MiB of the file."""
        for block in blocks:
            whole, size = size // MIB, size + len(block)
            if size > self.wanted.limit_bytes:
                self._discard()
                raise UnusableError(f"sends more than {self.wanted.limit_bytes:,} bytes")
            file.write(block)
            file.flush()  # so that a process that is killed loses nothing
            yield from [None] * (size // MIB - whole)

    def _check_size(self, total: int | None) -> None:
        """Refuse an announced size; what was received before is kept.

        Raises:
            UnusableError: it cannot be that of the wanted file.
        """
        if total is None:
            return
        if self.wanted.size_bytes not in (None, total):
            raise UnusableError(f"has {total:,} bytes instead of {self.wanted.size_bytes:,}")
        if total > self.wanted.limit_bytes:
            raise UnusableError(
                f"has {total:,} bytes, but the file has at most {self.wanted.limit_bytes:,}"
            )

    def _check_disk(self, needed: int) -> None:
        if shutil.disk_usage(self.partial.parent).free < needed + SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))


def _proxy(url: str) -> str:
    """Return by which proxy an address is asked, without name and password; "" if by none."""
    named = select_proxy(url, get_environ_proxies(url))
    if not named:
        return ""
    return (
        f"by the proxy {named.rpartition('@')[2]} that http_proxy, https_proxy or all_proxy names"
    )


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what a call returns, or raises.

    Raises:
        TimeoutError: it takes longer; it is left to itself.
    """
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return done.result(seconds)


def _pause(retry_after: str) -> float:
    """Return the seconds that a header Retry-After asks for; 0 if it is none."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    with suppress(ValueError, TypeError):
        then = parsedate_to_datetime(retry_after)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    return 0.0


def partial_path(path: Path, url: str) -> Path:
    """Return where an unfinished download is kept; one for each address, never mixed."""
    return path.with_name(f".{path.name}.{sha256(url.encode()).hexdigest()[:8]}.partial")


def remove_partials(path: Path) -> None:
    """Remove what unfinished downloads of a file have left, from whichever address."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.partial*"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of ours to be changed, made if need be; no link is followed.

    Raises:
        RobustsegError: the name is taken by a link, or by something else that is no file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise RobustsegError(
            f"{path} is a link or a folder, not a file that robustseg wrote; delete it"
        ) from error
    with os.fdopen(descriptor, "r+b") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise RobustsegError(
                f"{path} is a link or a device, not a file that robustseg wrote; delete it"
            )
        yield file


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
