"""Pages of a report as tests read them."""

import io
from html.parser import HTMLParser

from matplotlib.figure import Figure


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)

    @property
    def words(self) -> str:
        """Return the text, white space folded."""
        return " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        """Keep a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_data(self, data):
        """Keep a piece of text."""
        self.text += data


def png() -> bytes:
    """Return a small picture."""
    buffer = io.BytesIO()
    Figure(figsize=(0.3, 0.3)).savefig(buffer, format="png")
    return buffer.getvalue()
