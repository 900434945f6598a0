"""torch's containers with the class of what they contain, so that a type checker knows what comes out of them."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from torch import nn

M = TypeVar("M", bound=nn.Module)


class TypedModuleDict(nn.ModuleDict, Generic[M]):
    """An `nn.ModuleDict` of modules of class M."""

    if TYPE_CHECKING:

        def __init__(self, modules: Mapping[str, M] | None = None) -> None: ...
        def __getitem__(self, key: str) -> M: ...
        def values(self) -> ValuesView[M]: ...
        def items(self) -> ItemsView[str, M]: ...


class TypedModuleList(nn.ModuleList, Generic[M]):
    """An `nn.ModuleList` of modules of class M."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M] | None = None) -> None: ...
        @overload
        def __getitem__(self, idx: slice) -> TypedModuleList[M]: ...
        @overload
        def __getitem__(self, idx: int) -> M: ...
        def __getitem__(self, idx: int | slice) -> M | TypedModuleList[M]: ...
        def __iter__(self) -> Iterator[M]: ...
