"""Colours, dashes and shapes of every chart, readable on white and in dark themes.

The palette was searched for: each colour has a contrast of at least 3:1 on white and on #111, and
any two stay apart under normal, protan, deutan and tritan vision. Dash and point shape repeat what
colour says.
"""

from typing import Any

PALETTE = (
    *("#3399ee", "#dd5599", "#666600", "#2244ff", "#999900", "#aa11aa"),
    *("#ff2266", "#007744"),
)
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4))  # pixels drawn and left out
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
KINDS = (
    *("real-time", "serverless", "async", "hybrid", "lambda", "batch transform", "lambda managed"),
    *("on-premise", "local", "mixed fleet", "routed"),
)
"""Inference types: each looks the same on all charts of types, whichever others are there."""
INK = "#797979"
"""Text and axes where the background is not known: at least 4.3:1 on white and on #111."""

WIDTH = 720  # pixels: charts below one another line up
HEIGHT = 380  # pixels


def config(ink: str = INK) -> dict[str, Any]:
    """Return the Vega-Lite configuration of every chart, with text and axes in the colour `ink`."""
    return {
        "background": "transparent",
        "padding": 8,  # a font wider than the one measured stays inside
        "font": "Arial, Liberation Sans, Helvetica, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink,
            "titleColor": ink,
            "domainColor": ink,
            "tickColor": ink,
            "gridColor": ink,
            "gridOpacity": 0.2,
            "labelFontSize": 12,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "labelFontSize": 13,
            "labelLimit": 0,
            "columnPadding": 48,  # a font may be wider than the one measured
            "symbolSize": 120,
            "symbolStrokeWidth": 2.5,
        },
        "header": {
            "labelColor": ink,
            "titleColor": ink,
            "labelFontSize": 13,
            "labelFontWeight": "bold",
            "labelLimit": 0,
        },
        "title": {
            "color": ink,
            "subtitleColor": ink,
            "fontSize": 16,
            "subtitleFontSize": 13,
            "subtitlePadding": 5,
            "anchor": "start",
            "frame": "group",
            "offset": 12,
        },
        "style": {
            "target": {"color": ink, "strokeWidth": 1.5, "strokeDash": [4, 4]},
            "note": {"color": ink, "fontSize": 12},
        },
    }
