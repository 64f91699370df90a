"""Figures as the bytes of image files. Not by `savefig`, which draws everything twice."""

import io
from functools import partial

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PNG_DPI = 160
_settings = partial(
    rc_context,
    {
        # With a fixed salt the same logs give the same bytes.
        "svg.hashsalt": "matprec",
        # Vertices closer than this many pixels to a straight line are left out.
        "path.simplify_threshold": 0.6,
        # Longer lines are drawn in parts: one part may be too much for the renderer.
        "agg.path.chunksize": 5000,
    },
)


def svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with _settings():
        # Without a date, for the same reason as the salt.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.set_dpi(PNG_DPI)
    with _settings():
        # The default compression takes longer and saves little on plots.
        FigureCanvasAgg(figure).print_png(buffer, pil_kwargs={"compress_level": 2})
    return buffer.getvalue()
