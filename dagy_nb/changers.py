"""What the notebook's own functions and methods change: `add(df)` changes `df` if `def add(d)` has `d["c"] = 1`.

Each statement says by itself which values it gives to which functions and methods (see `dagy_nb.names`). Which of those
change them is asked of all cells at once, through the helpers that helpers call. Nothing is executed, so a method is
known by its name alone: `model.fit_step(x)` changes `model` if each class of the notebook that has a `fit_step` changes
its object there. What is imported is unknown, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dagy_nb.cells import Cell, ReadCell, Statement
from dagy_nb.names import CHANGING_METHODS, Definition, Handed, Names


@dataclass(slots=True, eq=False)
class _Known:
    """A function or a method, and what of its changes is known so far."""

    definition: Definition
    scopes: tuple[_Scope, ...]  # where the functions that it calls are looked up, the innermost first
    is_inner: bool  # defined in a function, whose names it sees
    given: set[str] = field(default_factory=set)  # the parameters that it changes
    outside: set[str] = field(default_factory=set)  # what it changes of what it finds outside

    def changes(self, place: int | str | None) -> bool:
        """Does it change the argument at `place`, or the object that it is called on (None)?"""
        return self.definition.parameter(place, as_method=bool(self.definition.of_class)) in self.given

    def note(self, name: str) -> None:
        """It changes the value of a name that it has not made itself."""
        found = self.definition
        (self.given if name in {*found.parameters, *found.named, found.rest} else self.outside).add(name)


_Scope = dict[str, list[_Known]]


class Changers:
    """What the functions and methods change that these cells, all of a notebook, define."""

    def __init__(self, reads: Iterable[ReadCell], *, also_augmented: bool = False) -> None:
        reads = list(reads)
        self._also_augmented = also_augmented  # takes `a += 1`, which changes an array in place, for a change
        self._own: dict[Cell, _Scope] = {}  # the functions of each cell, which it prefers to those of others
        self._functions: _Scope = {}
        self._methods: _Scope = {}
        self._classes: set[str] = set()
        self._found: dict[Definition, _Known] = {}
        for read in reads:
            self._take(read)
        self._settle()
        is_augmenting = not also_augmented and any(each.augments for each in self._found)
        self._wider = Changers(reads, also_augmented=True) if is_augmenting else self

    def told(self, read: ReadCell) -> ReadCell:
        """The cell with all that its statements change. If it defines functions, it is one that this was made of."""
        statements = tuple(self._told(each, read) for each in read.statements)
        if all(new is old for new, old in zip(statements, read.statements, strict=True)):
            return read
        return replace(read, statements=statements)

    def _take(self, read: ReadCell) -> None:
        """Add what a cell defines."""
        scope = self._own.setdefault(read.cell, {})
        for statement in read.statements:
            for definition in statement.names.defines:
                self._add(definition, (scope,), is_inner=False)
        for name, found in scope.items():
            self._functions.setdefault(name, []).extend(found)
        for name, nothing in _opaque(read).items():
            scope.setdefault(name, nothing)

    def _add(self, definition: Definition, scopes: tuple[_Scope, ...], *, is_inner: bool) -> None:
        known = _Known(definition, ({}, *scopes), is_inner)
        self._found[definition] = known
        for name in definition.changes | (definition.augments if self._also_augmented else frozenset()):
            known.note(name)
        for each in definition.inner:
            self._add(each, known.scopes, is_inner=True)
        if not definition.of_class:
            scopes[0].setdefault(definition.name, []).append(known)
            return
        self._classes.add(definition.of_class)
        self._methods.setdefault(definition.name, []).append(known)
        if definition.name == "__init__":  # which is called by the name of the class
            scopes[0].setdefault(definition.of_class, []).append(known)

    def _settle(self) -> None:
        """Ask every function that calls others, again whenever more is known of one of those."""
        callers: dict[str, list[_Known]] = {}
        for known in self._found.values():
            for to in known.definition.calls:
                callers.setdefault(to, []).append(known)
        todo = [known for known in reversed(self._found.values()) if known.definition.calls]
        while todo:
            known = todo.pop()
            if self._learn(known):
                found = known.definition
                names = (found.of_class,) if found.name == "__init__" else (found.name, f".{found.name}")
                todo += [each for to in names for each in callers.get(to, ())]

    def _told(self, statement: Statement, read: ReadCell) -> Statement:
        names = statement.names
        if not names.calls and not names.defines:
            return statement
        mutates, spoils = self._changed(names, read)
        wider, may_spoil = (mutates, spoils) if self._wider is self else self._wider._changed(names, read)
        looks = {each for each in names.alone if self._only_looks(each)}
        told = (
            mutates,
            frozenset(each.name for each in names.alone - looks) - mutates,
            (names.augments | wider) - mutates,
            spoils,
            {name: may_spoil[name] - changed for name, changed in spoils.items()},
        )
        if told == (names.mutates, names.may_mutate, names.may_augment, names.spoils, names.may_spoil):
            return statement
        mutates, may_mutate, may_augment, spoils, may_spoil = told
        new = replace(
            names,
            mutates=mutates,
            may_mutate=may_mutate,
            may_augment=may_augment,
            spoils=spoils,
            may_spoil=may_spoil,
        )
        return replace(statement, names=new)

    def _changed(self, names: Names, read: ReadCell) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        """What a statement of a cell changes, and what each of its functions changes of its parameters."""
        scopes = (self._own.get(read.cell) or _opaque(read),)
        given = {each.name for each in names.handed if self._changes(each, scopes)}
        outside = {name for to in names.calls for each in self._called(to, scopes) for name in each.outside}
        spoils = {
            each.name: frozenset(self._found[each].given)
            for each in names.defines
            if not each.of_class and each in self._found
        }
        return names.changes | given | (outside - names.surely), spoils

    def _learn(self, known: _Known) -> bool:
        """Does one know more of `known`, after asking the functions that it calls?"""
        definition = known.definition
        before = len(known.given) + len(known.outside)
        for handed in definition.handed:
            if self._changes(handed, known.scopes, known):
                known.note(handed.name)
        for to in definition.calls:
            for called in self._called(to, known.scopes):
                if not called.is_inner:
                    known.outside |= called.outside
                    continue
                for name in called.outside:
                    is_own = name in definition.binds and name not in definition.parameters
                    for root in definition.aliases.get(name, frozenset()) | (set() if is_own else {name}):
                        known.note(root)
        return len(known.given) + len(known.outside) > before

    def _called(self, to: str, scopes: Iterable[_Scope]) -> Sequence[_Known]:
        """The functions or methods that `to` may mean."""
        if to.startswith("."):
            name = to[1:]
            return () if name.startswith("__") or name in CHANGING_METHODS else self._methods.get(name, ())
        for scope in scopes:
            if to in scope:
                return scope[to]
        return self._functions.get(to, ())

    def _changes(self, handed: Handed, scopes: Iterable[_Scope], caller: _Known | None = None) -> bool:
        """Does what a value is given to change it?"""
        if not handed.to.startswith("."):
            return any(each.changes(handed.place) for each in self._called(handed.to, scopes))
        name = handed.to[1:]
        if name.startswith("__"):
            return False
        found = [each for each in self._methods.get(name, ()) if each is not caller]
        if caller is not None and caller.definition.of_class and handed.name in caller.definition.parameters[:1]:
            own = [each for each in found if each.definition.of_class == caller.definition.of_class]
            found = own or found
        found = [each for each in found if not each.definition.is_abstract]
        if handed.place is None and handed.name in self._classes:  # `Model.load(path)`
            found = [each for each in found if each.definition.is_for_class]
        return bool(found) and all(each.changes(handed.place) for each in found)

    def _only_looks(self, handed: Handed) -> bool:
        """Do the notebook's classes say that a method changes nothing?"""
        found = self._methods.get(handed.to[1:], ())
        return bool(found) and not any(each.changes(None) for each in found)


def _opaque(read: ReadCell) -> _Scope:
    """The names that a cell binds to something that nobody can look into."""
    return {name: [] for statement in read.statements for name in statement.names.binds}
