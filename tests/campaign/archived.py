"""Bad archives, and servers that break, trickle, lie, redirect and change."""

import hashlib
import random
import tarfile
from contextlib import ExitStack
from pathlib import Path

from robustseg.data.unpacking import MARKER, unpack
from robustseg.downloads import Expected, fetch
from robustseg.errors import RobustsegError
from robustseg.progress import Silence
from robustseg.receiving import Patience
from tests.campaign.cases import DAMAGED, CaseClass, Verdict, judged
from tests.data import archives
from tests.mutations import mutated
from tests.serving import Server, serve

FILES = {"set/images/a.jpg": b"a" * 5000, "set/lists/train.txt": b"a\n", "set/more/b": b"b" * 700}
OUTSIDE = ("../outside", "/tmp/campaign-outside", "a/../../outside", "set\\..\\..\\x", "set/a\nb")
PATIENCE = Patience(silence_s=0.3, window_s=0.3, tries=2, pause_s=0.001, longest_pause_s=1.0)


def prepare(folder: Path) -> dict[str, bytes]:
    """Return the bytes of archives of each kind."""
    folder.mkdir()
    archives.write_tar(folder / "set.tar", FILES, "w")
    archives.write_tar(folder / "set.tgz", FILES, "w:gz")
    archives.write_zip(folder / "set.zip", FILES)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def archive(made: dict[str, bytes], folder: Path, source: random.Random) -> Verdict:
    """Unpack an archive that is damaged, or whose members are hostile."""
    name = source.choice(sorted(made))
    path, target = folder / name, folder / "here" / "unpacked"
    hostile = source.random() < 0.15
    if hostile:
        _hostile(path, source)
    else:
        path.write_bytes(mutated(made[name], source))

    def read() -> dict[str, bytes]:
        unpack(path, target, limit_bytes=10**5, progress=Silence())
        files = (one for one in target.rglob("*") if one.is_file() and one.name != MARKER)
        return {one.relative_to(target).as_posix(): one.read_bytes() for one in files}

    def right(found: dict[str, bytes]) -> str | None:
        return f"accepted {sorted(found)}" if hostile else _unlike(name, found)

    verdict = judged(read, name, right)
    beside = {one.name for one in folder.iterdir()} - {name, "here"}
    here = {one.name for one in target.parent.iterdir()} if target.parent.exists() else set()
    litter = beside | (here - {"unpacked"}) | ({"unpacked"} if _half(verdict, target) else set())
    return Verdict(DAMAGED, f"left {sorted(litter)}") if litter else verdict


def _half(verdict: Verdict, target: Path) -> bool:
    return bool(verdict.said) and target.exists()


def _unlike(name: str, found: dict[str, bytes]) -> str | None:
    """Return how files differ; a plain tar has no checksum of their content."""
    if name == "set.tar":
        same = {one: len(content) for one, content in found.items()}
        return None if same == {one: len(content) for one, content in FILES.items()} else "others"
    return None if found == FILES else f"other files or bytes: {sorted(found)}"


def _hostile(path: Path, source: random.Random) -> None:
    """Write an archive with a member that leaves the folder, is a link, or is much too large."""
    write = archives.write_zip if path.suffix == ".zip" else _write_tar
    match source.randrange(3):
        case 0:
            write(path, FILES | {source.choice(OUTSIDE[:4]): b"hostile"})
        case 1:
            write(path, FILES | {"zeros": b"\0" * 10**6})
        case 2:
            with tarfile.open(path, "w") as file:
                info = tarfile.TarInfo("set/link")
                info.type = source.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE))
                info.linkname = "/etc/passwd"
                file.addfile(info)


def _write_tar(path: Path, files: dict[str, bytes]) -> None:
    archives.write_tar(path, files, "w:gz" if path.suffix == ".tgz" else "w")


CONTENT = random.Random(0).randbytes(50_000)
OTHER = CONTENT[::-1]


def prepare_download(folder: Path) -> None:
    """Make the folder."""
    folder.mkdir()


def download(_: None, folder: Path, source: random.Random) -> Verdict:
    """Fetch a file from servers that misbehave, perhaps after an earlier call has given up."""
    served, path = folder / "served", folder / "here" / "file.bin"
    served.mkdir()
    (served / "file.bin").write_bytes(CONTENT)
    (served / "mirror.bin").write_bytes(source.choice((CONTENT, CONTENT, OTHER, CONTENT[:-1], b"")))
    known = source.random() < 0.8
    expected = Expected(
        sha256=hashlib.sha256(CONTENT).hexdigest() if known else None,
        size_bytes=source.choice((None, len(CONTENT))),
    )
    whole = {CONTENT} if known else {CONTENT, OTHER, CONTENT[:-1]}
    with ExitStack() as stack:
        server = stack.enter_context(serve(served))
        whole |= {one for one in _misbehave(server, source) if not known}
        urls = [server.url(name) for name in source.choice(ORDERS)]

        def read() -> bytes:
            fetch(path, urls, expected, limit_bytes=10**6, progress=Silence(), patience=PATIENCE)
            return path.read_bytes()

        verdict = judged(read, r"file\.bin", lambda found: _not_served(found, whole))
        if verdict.said and path.exists():
            return Verdict(DAMAGED, f"{path.name} is there: {verdict.said}")
        _behave(server)
        (served / "file.bin").write_bytes(CONTENT)
        (served / "mirror.bin").write_bytes(CONTENT)
        try:
            last = read()
        except RobustsegError as error:
            return Verdict(DAMAGED, f"not even from a good server: {error}")
    why = _not_served(last, whole)
    litter = {one.name for one in path.parent.iterdir()} - {path.name}
    if why or litter:
        return Verdict(DAMAGED, why or f"left {sorted(litter)}")
    return verdict


ORDERS = (["file.bin"], ["mirror.bin", "file.bin"], ["file.bin", "mirror.bin"])


def _not_served(found: bytes, whole: set[bytes]) -> str | None:
    return None if found in whole else f"{len(found)} bytes that no server has as one file"


def _misbehave(server: Server, source: random.Random) -> list[bytes]:
    """Let a server do one to three wrong things; return other contents that the file then has."""
    changes: list[bytes] = []
    for _ in range(source.randint(1, 3)):
        name = source.choice(("file.bin", "mirror.bin"))
        match source.randrange(16):
            case 0:
                server.break_after[name] = [source.randrange(60_000) for _ in range(3)]
            case 1:
                server.break_every[name] = source.randrange(5_000, 60_000)
            case 2:
                server.stall_at[name] = source.randrange(60_000)
            case 3:
                server.answers[name] = source.choice((400, 403, 404, 410, 500, 503))
            case 4:
                server.refusals[name] = [source.choice((429, 503)) for _ in range(2)]
                server.retry_after = source.choice((None, "0", "-5", "soon", "99999"))
            case 5:
                changes = [mutated(CONTENT, source) for _ in range(2)]
                server.changes[name] = list(changes)
                server.break_after[name] = [source.randrange(50_000)]
            case 6:
                server.pages.add(name)
                server.page_type = source.choice(("text/html", "application/octet-stream"))
            case 7:
                to = source.choice(("mirror.bin", "file.bin", "http://127.0.0.1:1/x", "ftp://x/y"))
                server.redirects[name] = to if "//" in to else server.url(to)
            case 8:
                server.endless.add(name)
            case 9:
                server.pause_s, server.block_bytes = 0.01, source.choice((1_000, 10_000))
            case 10:
                server.slow_heads.add(name)
            case 11:
                server.ranges = False
            case 12:
                server.lengths = False
            case 13:
                server.etags = False
            case 14:
                server.heeds_if_range = False
            case 15:
                server.shift = source.choice((-7, 3, 1_000))
                server.break_after[name] = [source.randrange(50_000)]
    return changes


def _behave(server: Server) -> None:
    """Let a server do what is right."""
    for faults in (server.break_after, server.break_every, server.stall_at, server.answers):
        faults.clear()
    for more in (server.refusals, server.changes, server.redirects):
        more.clear()
    for paths in (server.pages, server.endless, server.slow_heads):
        paths.clear()
    server.pause_s, server.shift = 0.0, 0
    server.ranges = server.lengths = server.etags = server.heeds_if_range = True


CLASSES = [
    CaseClass("archives", "inputs", prepare, archive),
    CaseClass("downloads", "inputs", prepare_download, download, weight=2),
]
