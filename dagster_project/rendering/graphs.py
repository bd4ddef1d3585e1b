"""Graphs of what follows from what: worked out here in layers, from left to right, and drawn by a template as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ROW, _HEIGHT, _GAP, _CHARACTER, _PADDING = 30, 22, 70, 6.6, 8
_SWEEPS = 6


@dataclass(frozen=True)
class Node:
    name: str
    x: float
    y: float
    width: float
    height: float = _HEIGHT


@dataclass(frozen=True)
class Edge:
    """A line from one node to another. path: as SVG has it."""

    start: str
    end: str
    path: str


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    nodes: Sequence[Node]
    edges: Sequence[Edge]


def layered(inputs: Mapping[str, Sequence[str]]) -> Graph:
    """Each node with what it follows from. Names that have no entry of their own follow from nothing.

    No circle may be in it.
    """
    names = dict.fromkeys([*(one for of in inputs.values() for one in of), *inputs])
    layer: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in layer:
            layer[name] = 1 + max((depth(one) for one in inputs.get(name, ())), default=-1)
        return layer[name]

    for name in names:
        depth(name)
    layers: list[list[str]] = [[] for _ in range(1 + max(layer.values(), default=-1))]
    for name in names:
        layers[layer[name]].append(name)
    neighbours: dict[str, list[str]] = {name: list(inputs.get(name, ())) for name in names}
    for name, of in inputs.items():
        for one in of:
            neighbours[one].append(name)
    # Near to what they are connected with: fewer lines cross.
    place = {name: i / max(len(row), 1) for row in layers for i, name in enumerate(row)}
    for _ in range(_SWEEPS):
        for row in layers:
            row.sort(key=lambda name: sum(place[n] for n in neighbours[name]) / max(len(neighbours[name]), 1))
            place |= {name: (i + 0.5) / len(row) for i, name in enumerate(row)}
    tallest = max((len(row) for row in layers), default=0)
    nodes: dict[str, Node] = {}
    x = 1.0
    for row in layers:
        width = max(len(name) for name in row) * _CHARACTER + 2 * _PADDING
        top = (tallest - len(row)) * _ROW / 2
        for i, name in enumerate(row):
            nodes[name] = Node(name, x, top + i * _ROW + 1, width)
        x += width + _GAP
    edges = [
        Edge(one, name, _curve(nodes[one], nodes[name]))
        for name, of in inputs.items()
        for one in dict.fromkeys(of)
    ]
    return Graph(max(x - _GAP + 1, 1), tallest * _ROW, list(nodes.values()), edges)


def around(name: str, inputs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Of a graph, all that a node follows from, and all that follows from it, at whatever distance."""
    kept, waiting = {name}, [name]
    while waiting:
        new = [one for one in inputs.get(waiting.pop(), ()) if one not in kept]
        kept.update(new)
        waiting += new
    after, grows = {name}, True
    while grows:
        new = [n for n, of in inputs.items() if n not in after and after & set(of)]
        after.update(new)
        grows = bool(new)
    return {
        n: [one for one in of if (n in kept and one in kept) or (n in after and one in after)]
        for n, of in inputs.items()
        if n in kept | after
    } | ({} if name in inputs else {name: []})


def _curve(start: Node, end: Node) -> str:
    x1, y1 = start.x + start.width, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    bend = max((x2 - x1) / 2, 20)
    return f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
