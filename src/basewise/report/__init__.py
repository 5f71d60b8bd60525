"""The report of a run: one HTML file that opens from disk. Adding a section: write its file,
add its line here; its `place` says where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewise.registry import Registry

if TYPE_CHECKING:
    from basewise.report.blocks import Section

__all__ = ["SECTIONS", "page_of", "write_report"]

SECTIONS = Registry(
    "section",
    {
        "agreement": "basewise.report.agreement:Agreement",
        "as_published": "basewise.report.as_published:AsPublished",
        "attributions": "basewise.report.attributions:Attributions",
        "audit": "basewise.report.audit:AuditWarnings",
        "bases": "basewise.report.bases:Bases",
        "biology": "basewise.report.biology:Biology",
        "conservation": "basewise.report.conservation:Conservation",
        "controls": "basewise.report.controls:Controls",
        "genomes": "basewise.report.genomes:Genomes",
        "interventions": "basewise.report.interventions:Interventions",
        "limits": "basewise.report.limits:Limits",
        "localisation": "basewise.report.localisation:Localisation",
        "methods": "basewise.report.methods:Methods",
        "quality": "basewise.report.quality:Quality",
        "question": "basewise.report.question:Question",
        "ranking": "basewise.report.ranking:TokenRanking",
        "stretches": "basewise.report.stretches:Stretches",
    },
)


def write_report(folder: str | Path) -> Path:
    """Write `<folder>/report/index.html`, whole or not at all.

    Everything shown is read from the folder of the run; nothing scientific is computed, so the
    same run gives the same bytes. A section for which the run holds nothing is left out, and
    the contents say so, unless the section is `rare`: of what most runs have no reason to hold.

    Parameters
    ----------
    folder : path
        The folder of a run; see `basewise.study.results`.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    StoreError
        If the folder is not that of a run, or one of its files is broken.
    """
    from basewise.store import write_text
    from basewise.study.results import open_run

    run = open_run(folder)
    built = {name: SECTIONS.build(name) for name in SECTIONS.names()}
    ordered = sorted(built, key=lambda name: built[name].place)
    rendered = [(name, built[name].title, built[name].render(run)) for name in ordered]
    text = page_of(
        run.lock,
        "study",
        run.folder.name,
        [(name, section) for name, _, section in rendered if section],
        [
            title
            for name, title, section in rendered
            if not section and not getattr(built[name], "rare", False)
        ],
    )
    path = run.folder / "report" / "index.html"
    write_text(path, text)
    return path


def page_of(
    lock: Mapping[str, Any],
    about: str,
    folder: str,
    sections: Sequence[tuple[str, Section]],
    missing: Sequence[str] = (),
) -> str:
    """The page that holds sections, by the lock of a run and its table that says what it is."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = Environment(
        loader=PackageLoader("basewise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")
    said = lock.get(about, {})
    return page.render(
        title=said.get("title") or said.get("name") or folder,
        name=said.get("name", ""),
        version=lock.get("versions", {}).get("basewise", ""),
        sections=sections,
        missing=missing,
    )
