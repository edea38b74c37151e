"""mkdocs hook: the pages of the site that are made from what lies elsewhere in the repository.

The command line's reference comes from the commands themselves, each folder's page is its README, changes and contributing are
the files at the top. Links lead to files of the repository, so that they work where it is read as it is; here those between
pages become links between pages, and those to other files their paths, since the site does not hold them.
"""

import os
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files

from ufafuse.commands.cli import build_app

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "runtime/README.md": "folders/runtime.md",
    "runtime/stream/README.md": "folders/stream.md",
    "runtime/serving/README.md": "folders/serving.md",
    "network/README.md": "folders/network.md",
    "train/README.md": "folders/train.md",
    "train/DATA.md": "folders/data.md",
    "export/README.md": "folders/export.md",
    "calibration/README.md": "folders/calibration.md",
    "benchmarks/README.md": "folders/benchmarks.md",
    "commands/README.md": "folders/commands.md",
    "deploy/README.md": "folders/deploy.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:  # noqa: ANN401 - mkdocs' own type is not exported
    """Add the generated pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=linked(text, ROOT / source, page)))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:  # noqa: ANN401 - mkdocs' own types are not exported
    """The links of the pages that lie in docs/ themselves; the others have theirs already."""
    source = ROOT / "docs" / page.file.src_uri
    return linked(markdown, source, page.file.src_uri) if source.is_file() else markdown


def linked(text: str, source: Path, page: str) -> str:
    """The text of ``source`` with its links as they are from ``page``."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = (source.parent / target).resolve()
        if not path.exists():
            raise FileNotFoundError(f"{source.relative_to(ROOT)} links to {target}, which does not exist")
        inside = path.relative_to(ROOT).as_posix() + ("/README.md" if path.is_dir() and (path / "README.md").is_file() else "")
        where = PAGES.get(inside)
        if where is None and path.is_relative_to(ROOT / "docs") and path.is_file():
            where = path.relative_to(ROOT / "docs").as_posix()
        if where is None:
            return f"{words} (`{path.relative_to(ROOT).as_posix()}`)" if words.strip("`/") not in inside else f"`{inside}`"
        return f"[{words}]({os.path.relpath(where, Path(page).parent)}{anchor})"

    return _LINK.sub(link, text)


def command_line() -> str:
    """Every command's help, as a terminal of 76 columns shows it: what the page has room for."""
    os.environ["COLUMNS"] = "76"
    parts = [
        "# Command line",
        "What each command says with `--help`, made from the commands themselves. `--json` prints "
        "[one JSON object](json.md). Shell completion: `ufa --install-completion`.",
    ]
    root = typer.main.get_command(build_app())
    context = typer.Context(root, info_name="ufa")
    parts += _pages(root, context)
    return "\n\n".join(parts) + "\n"


def _pages(command: Any, context: Any) -> list[str]:  # noqa: ANN401 - click's, wherever typer keeps it
    parts = [f"## {context.command_path}", f"```text\n{command.get_help(context).strip()}\n```"]
    for name in command.list_commands(context) if hasattr(command, "commands") else []:
        child = command.commands[name]
        parts += _pages(child, type(context)(child, info_name=name, parent=context))
    return parts
