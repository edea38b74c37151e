"""Every link and picture of the built site leads somewhere within it, to an anchor that is there; others are listed only."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        self.targets += [value for key in ("href", "src") if (value := found.get(key)) and tag != "base"]


def read(path: Path) -> _Page:
    """One page's links and anchors."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def main() -> int:
    """Exit code 1 with what leads nowhere."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: read(path) for path in site.rglob("*.html") if path.name != "404.html"}
    broken, outside = [], set()
    for path, page in pages.items():
        for target in page.targets:
            where, anchor = urldefrag(target)
            if urlparse(where).scheme:
                outside.add(where)
                continue
            to = (path.parent / unquote(where)).resolve() if where else path
            to = to / "index.html" if to.is_dir() else to
            if not to.exists() or (anchor and to in pages and unquote(anchor) not in pages[to].anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    print(f"{len(pages)} pages, {len(broken)} broken links, {len(outside)} addresses outside")
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
