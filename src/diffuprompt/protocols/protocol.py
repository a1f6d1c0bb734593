"""What a protocol is, as data: which images train and test, what else is scored, and its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from diffuprompt.data import Manifest
from diffuprompt.protocols.roles import Roles

Scope = Literal["own", "other names", "same names"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the table of a protocol is laid out; numbers are the report's.

    Attributes:
        own: the subsets of the job's own test set that are columns, in their order.
        harmonic: two of them whose harmonic mean H is a column. Over several data sets H is that of
            the average columns, as published; the mean of the data sets' H stands beside it.
        targets: whether each other test set is a column, and the mean over them, without the job's
            own, another.
        shots: the numbers of shots that a curve is drawn over; empty for no curve.
    """

    own: tuple[str, ...]
    harmonic: tuple[str, str] | tuple[()] = ()
    targets: bool = False
    shots: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of training and testing.

    Attributes:
        name: in commands and records.
        about: one sentence.
        source: the paper that it is from.
        roles: from a data set and its few-shot selection, the images that train and test.
        layout: of its table.
        scope: what the protocol itself tests beside the job's own test set: nothing ("own"), other
            data sets among their own names ("other names"), or other pictures of the classes that
            were trained ("same names").
        defaults: data set -> names of the test sets that it is scored on where none is named.
        recipes: which presets are for it, where their name is another one.
        one_list: whether everything is scored among the names that were trained, in their order.
    """

    name: str
    about: str
    source: str
    roles: Callable[[Manifest, Manifest], Roles]
    layout: Layout
    scope: Scope = "own"
    defaults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recipes: str = ""
    one_list: bool = False

    def misfits(
        self,
        source: Manifest,
        targets: Mapping[str, tuple[str, ...]],
        *,
        way: str = "--test-data",
    ) -> list[str]:
        """Return what is wrong with the test sets, given as name -> class names.

        ``way`` is the option that names some where there are none.
        """
        if self.scope == "own":
            return []
        if not targets:
            known = f" (known for {', '.join(self.defaults)})" if self.defaults else ""
            return [
                f"test_data: the protocol {self.name} tests on other data than {source.name!r}, "
                f"and there is none; name it with {way}{known}"
            ]
        if self.scope == "other names":
            return []
        problems = []
        for name, classes in targets.items():
            strange = [c for c in classes if c not in source.classes]
            if strange:
                problems.append(
                    f"test_data: {name} has {len(strange)} class(es) that {source.name!r} does not "
                    f"have, such as {strange[0]!r}; the protocol {self.name} is of the same "
                    "names: rename them, or use --protocol cross-dataset"
                )
        return problems
