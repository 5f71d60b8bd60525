"""Published data sets, brought from where they are published.

What is known of the sources, and how: none of these addresses was ever reached from the
tests, which use a server of their own. The files of `gue_promoters` were hashed from a
copy of the repository at the commit named here (two files that the copy lacked are known by
the names git gives their content). The archive of `gue` was never seen; its address is the
one in the README of DNABERT-2, its SHA-256 the one that another user of it reported
(experiments of bio-flodl, for a file called GUE_v2.zip). If it was replaced since, the
download is refused and says what came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from basewise.data.download import Progress, download
from basewise.data.unpack import unpack
from basewise.errors import ConfigError, UnknownName
from basewise.store import write_text

__all__ = ["PUBLISHED", "Published", "fetch"]

_PROMOTERS: Mapping[str, Mapping[str, str]] = {
    "prom_300_all": {
        "train": "git:47c394ca546448d024b4fedab998d34387b8b714",
        "dev": "sha256:e972638bba9bdf3d9d9f2fb94801892655c91d8cea0bf13545a9361bc183a6fc",
        "test": "sha256:11a08b94f7e416a7e608812b74f8b5d3af4c09a6c95e996661903470ff9cc418",
    },
    "prom_300_notata": {
        "train": "git:3446a667dbaa24aab2e9a73c7868d5ad52d7e6a5",
        "dev": "sha256:33531e88069eff33019c1ff2de36bfa3d86f53d6964938a61571ea0c908588ac",
        "test": "sha256:84f51710928ab64476f77f89d736e87e2c6e6b6f8fd54b4580156a05b8feecb0",
    },
    "prom_300_tata": {
        "train": "sha256:d0dd45bad89aee2564b8831d38a393989942d79b673203e7eb50e19ec8e6242e",
        "dev": "sha256:4de0f8163d964e4004f0a11036d9a9c5ec6fe2ad5953f962acf66150a2f44592",
        "test": "sha256:30432e9845277559043c2bb3bfed37b9bc7efc15748880f3adeeaddc16b76deb",
    },
    "prom_core_all": {
        "train": "sha256:a36e0bbf2b59e01479bb904534d310041b493fec9221ccd74b518893d74054ed",
        "dev": "sha256:98dd5d2b5df3c93cad9fa0a4a36078d28fa95b7bf9ab73fb2e5ba1fa74877f2b",
        "test": "sha256:b1babbb52abd0fb5328eccc4ce8ab60d0a58d28bdc88c30f8e2140cf1684ce0c",
    },
    "prom_core_notata": {
        "train": "sha256:78bfa494d14fa12f3a661fbd37b8d252f3cf9edf4a8f98d60832fb56e6f9aab9",
        "dev": "sha256:ced43fdbc8c76187fe0589dfeef07f4554c3374837236b80b02eea392795d548",
        "test": "sha256:1ef44c266ca1368e8b438f6b0565b865aa203de8e1c89fc513357311b58bf97c",
    },
    "prom_core_tata": {
        "train": "sha256:6ff19d1296628f1ff30f663f154596aeda27e2c48b8d8c35926029a33c64d3fb",
        "dev": "sha256:dcacb3b86726376899ad4023339ccaae04a9150f41c34268b4ab38e447316a70",
        "test": "sha256:35ba337b4f1f3ca53c5045d51ab6eaedbd382619527a38d4a41f5402015dbad4",
    },
}


@dataclass(frozen=True)
class Published:
    """Where a data set is published.

    Attributes
    ----------
    what : str
        One line for people.
    url : str
        Of the archive; or what the paths of `files` are appended to.
    page : str
        For people whose download the server refuses.
    licence : str
        As the publisher states it.
    archive : str
        Checksum of a zip archive, or empty where the files lie there singly.
    files : mapping
        Paths of single files to their checksums.
    """

    what: str
    url: str
    page: str
    licence: str
    archive: str = ""
    files: Mapping[str, str] | None = None


PUBLISHED: Mapping[str, Published] = {
    "gue": Published(
        what="Genome Understanding Evaluation, all tasks (Zhou et al. 2024), about 300 MB",
        url="https://drive.usercontent.google.com/download"
        "?id=1uOrwlf07qGQuruXqGXWMpPn8avBoW7T-&export=download&confirm=t",
        page="https://github.com/MAGICS-LAB/DNABERT_2",
        licence="Apache-2.0",
        archive="sha256:581ba5a69843769f4cbc34470e2fe970f8ee371280914bd66574af01ee60cd79",
    ),
    "gue_promoters": Published(
        what="GUE, the promoter and core promoter tasks alone, about 35 MB",
        url="https://raw.githubusercontent.com/wds-seu/DeepGene/"
        "486343e5212361d6cd7ed03c624f430ed3d5f02e/data/GUE/",
        page="https://github.com/wds-seu/DeepGene",
        licence="Apache-2.0",
        files={
            f"prom/{task}/{name}.csv": known
            for task, splits in _PROMOTERS.items()
            for name, known in splits.items()
        },
    ),
}


def fetch(
    name: str,
    folder: str | Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Bring a published data set into a folder.

    Interrupted, it goes on where it was; what is there and right is not brought again.
    `gue` and `gue_promoters` lay out the same files in the same places:
    `prom/prom_core_all/train.csv` and so on.

    Parameters
    ----------
    name : str
        A key of `PUBLISHED`.
    url : str, optional
        Another place of the same: `http`, `https`, or `file` for what a browser saved.
    sha256 : str, optional
        Of the archive, where another than the known one is trusted.
    progress : callable, optional
        Told the bytes there are, and will be, of the file under way.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    UnknownName
        If no data set has that name.
    DataError
        If the server cannot be reached, or sends something of another checksum, or the
        archive cannot be trusted; what was there before is untouched.
    """
    if name not in PUBLISHED:
        raise UnknownName("published data set", name, PUBLISHED)
    known, folder = PUBLISHED[name], Path(folder)
    url = known.url if url is None else url
    if known.files is None:
        return _archive(name, folder, url, _expected(known, sha256), progress)
    if sha256 is not None:
        raise ConfigError(f"sha256 is for an archive; the files of {name!r} have their own.")
    for path, expected in known.files.items():
        download(url + path, folder / path, expected, progress=progress)
    return sorted(folder / path for path in known.files)


def _expected(known: Published, sha256: str | None) -> str:
    if sha256 is None:
        return known.archive
    digits = sha256.lower().removeprefix("sha256:")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise ConfigError(f"sha256 = {sha256!r}: 64 hexadecimal digits are needed.")
    return f"sha256:{digits}"


def _archive(
    name: str, folder: Path, url: str, expected: str, progress: Progress | None
) -> list[Path]:
    """Download, unpack, and write down last what was unpacked, so that it is known whole."""
    done = folder / f"{name}.json"
    if (there := _unpacked(done, expected)) is not None:
        return there
    archive = folder / f"{name}.zip"
    download(url, archive, expected, progress=progress)
    paths = unpack(archive, folder)
    sizes = {path.as_posix(): (folder / path).stat().st_size for path in paths}
    write_text(done, json.dumps({"checksum": expected, "files": sizes}, indent=1))
    archive.unlink()
    return [folder / path for path in paths]


def _unpacked(done: Path, expected: str) -> list[Path] | None:
    """The files of an earlier run, if all of them are there; None if not."""
    try:
        said = json.loads(done.read_text(encoding="utf-8"))
        files = {done.parent / path: size for path, size in said["files"].items()}
        whole = all(path.stat().st_size == size for path, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever is wrong with the note, bringing the files again mends it
    return sorted(files) if whole and said["checksum"] == expected else None
