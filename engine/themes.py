"""The colours of pictures: light, dark, and for print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

ThemeName: TypeAlias = Literal["light", "dark", "print"]
Mark: TypeAlias = Literal["done", "now", "next", "later"]
"""What a walk has done with a node: passed its gradient on, does it now, does it next, or not yet."""


@dataclass(frozen=True)
class Theme:
    """Colours by the kind of a node (operation, leaf, constant, loss, fold) and by its mark in a walk."""

    background: str
    text: str
    edge: str
    fill: Mapping[str, str]
    outline: Mapping[str, str]
    mark: Mapping[Mark, str]


# Okabe and Ito's palette, which people with any colour vision tell apart: lightened, or darkened, for text on it.
THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        background="#FFFFFF",
        text="#111111",
        edge="#444444",
        fill={
            "operation": "#D6ECFA",
            "leaf": "#FFF3D1",
            "constant": "#FFFFFF",
            "loss": "#F7DCC8",
            "fold": "#ECE6F5",
        },
        outline={
            "operation": "#0072B2",
            "leaf": "#8A5A00",
            "constant": "#555555",
            "loss": "#A33F00",
            "fold": "#5B3E8C",
        },
        mark={"done": "#00634A", "now": "#A8005C", "next": "#0072B2", "later": "#555555"},
    ),
    "dark": Theme(
        background="#15181C",
        text="#F4F4F4",
        edge="#B5B5B5",
        fill={
            "operation": "#10314A",
            "leaf": "#3A2F10",
            "constant": "#15181C",
            "loss": "#4A2410",
            "fold": "#2F2547",
        },
        outline={
            "operation": "#56B4E9",
            "leaf": "#E69F00",
            "constant": "#BBBBBB",
            "loss": "#F0915A",
            "fold": "#B79CE8",
        },
        mark={"done": "#37C9A0", "now": "#FF8CC6", "next": "#7CC8F2", "later": "#B5B5B5"},
    ),
    "print": Theme(
        background="#FFFFFF",
        text="#000000",
        edge="#333333",
        fill=dict.fromkeys(["operation", "leaf", "constant", "loss", "fold"], "#FFFFFF"),
        outline=dict.fromkeys(["operation", "leaf", "constant", "loss", "fold"], "#000000"),
        mark=dict.fromkeys(["done", "now", "next", "later"], "#000000"),
    ),
}
