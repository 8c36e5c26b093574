"""What each wing may import: a contract for import-linter, one row a wing, in pyproject.toml. `make lint` checks it.

    package = "bisupervised"
    home = "streams"
    wings = [
        "schemas:",
        "kafka console: schemas",
        "plane: kafka schemas",
    ]

Before the colon stand wings: a folder, without the folders in it, or a single file; those in `home` by their short
names. After it stands what they may import: `agents.*` is all of `agents`, however deep, and `*` is everything.

A row names only rows above it, so no two wings can import each other; and no file may import itself by way of others.
An import inside a function, or for types alone, counts as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.contract import InvalidContractOptions

#: wing -> the wings that it may import
Table = Mapping[str, frozenset[str]]


class Wings(Contract):
    """Kept where every file is in a wing, imports what its row says, and nothing imports in a circle."""

    package: str = fields.StringField()  # type: ignore[assignment]  # what is read takes the field's place
    home: str = fields.StringField()  # type: ignore[assignment]  # the same
    wings: list[str] = fields.ListField(fields.StringField())  # type: ignore[assignment]  # the same

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001  # as the base
        """All that is wrong, a line each."""
        try:
            table = read_table(self.wings)
        except ValueError as error:
            raise InvalidContractOptions({"wings": str(error)}) from error
        faults = House(graph, self.package, self.home).faults(table)
        return ContractCheck(kept=not faults, metadata={"faults": faults})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print them."""
        for fault in check.metadata["faults"]:
            output.print_error(fault)


def read_table(rows: Sequence[str]) -> Table:
    """Raises `ValueError` for a row that cannot be read, or names what is not above it."""
    table: dict[str, frozenset[str]] = {}
    for row in rows:
        names, colon, allowed = row.partition(":")
        if not (names.split() and colon):
            raise ValueError(f"a row is 'wing: what it may import' (got {row!r})")
        known = frozenset(wing for name in allowed.split() for wing in _above(name, table, row))
        for wing in names.split():
            if wing in table:
                raise ValueError(f"{wing} has two rows")
            table[wing] = known
    return table


def _above(name: str, table: Table, row: str) -> list[str]:
    """The wings that a name after the colon stands for."""
    outer = name.removesuffix(".*")
    found = [wing for wing in table if name in (wing, "*") or (outer != name and f"{wing}.".startswith(f"{outer}."))]
    if not found:
        raise ValueError(f"{row!r} names {name}, which no row above it is about")
    return found


@dataclass(frozen=True, slots=True)
class House:
    """Every file of the packages, and what it imports."""

    graph: ImportGraph
    package: str
    home: str

    def faults(self, table: Table) -> list[str]:
        """What is wrong, a line each; with file and line where it is an import."""
        wings = {module: self._wing(module, table) for module in self.graph.modules}
        return [*_unnamed(frozenset(wings.values()), table), *self._forbidden(wings, table), *self._circle()]

    def _wing(self, module: str, table: Table) -> str:
        name = module.removeprefix(f"{self.package}.").removeprefix(f"{self.home}.")
        if name in table or self.graph.find_children(module):
            return name
        return name.rpartition(".")[0] or self.home

    def _forbidden(self, wings: Mapping[str, str], table: Table) -> Iterator[str]:
        for importer, wing in sorted(wings.items()):
            for imported in sorted(self.graph.find_modules_directly_imported_by(importer)):
                other = wings[imported]
                if wing in table and other != wing and other not in table[wing]:
                    yield f"{self._place(importer, imported)}: {wing} may not import {other}"

    def _circle(self) -> Iterator[str]:
        """One of them: where there are more, the next is told once this one is gone."""
        imports = {module: self.graph.find_modules_directly_imported_by(module) for module in self.graph.modules}
        try:
            TopologicalSorter(imports).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1][::-1]  # each imports the next, and the last is the first
            for step in pairwise(circle):
                yield f"{self._place(*step)}: a step of a circle of {len(circle) - 1} files"

    def _place(self, importer: str, imported: str) -> str:
        """`folder/file.py:12: from .other import name`."""
        details = self.graph.get_import_details(importer=importer, imported=imported)
        path = Path(*importer.removeprefix(f"{self.package}.").split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines = ", ".join(str(detail["line_number"]) for detail in details)
        return f"{file}:{lines}: {details[0]['line_contents'] if details else imported}"


def _unnamed(wings: frozenset[str], table: Table) -> Iterator[str]:
    for wing in sorted(wings - table.keys()):
        yield f"{wing} is in no row: say what it may import"
    for wing in sorted(table.keys() - wings):
        yield f"{wing} has a row, and there is no such folder or file"
