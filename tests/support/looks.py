"""Figures as a reader sees them: text that does not overlap, within the page."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg

from bayesxs.report.style import style


def boxes(figure):
    """Return places in pixels of all text that is seen, with the text, and of the figure."""
    with style():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
    shown = [t for legend in figure.legends for t in legend.get_texts()]
    axes = [*figure.axes, *(child for ax in figure.axes for child in ax.child_axes)]
    for ax in axes:
        shown += [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]
        if ax.get_legend():
            shown += ax.get_legend().get_texts()
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            shown += [t.label1 for t in ticks if t.label1.get_visible()]
            shown += [t.label2 for t in ticks if t.label2.get_visible()]
    shown = [t for t in shown if t.get_text() and t.get_visible()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in shown], figure.bbox


def assert_readable(figure):
    """Assert that no text lies over other text or beyond the edge."""
    found, page = boxes(figure)
    assert len(found) > 5
    for (first, a), (second, b) in itertools.combinations(found, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, (first, second)
    for text, box in found:
        assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text
