"""Any store of the host beside a dict, through any order of operations."""

from __future__ import annotations

import asyncio
import string
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from host.storage import EpochConflict, Store, Stored

PATH_PART = st.text(string.ascii_lowercase[:3] + "0-_", min_size=1, max_size=3).filter(
    lambda part: part[0] not in "-_"
)
KEYS = st.lists(PATH_PART, min_size=1, max_size=3).map("/".join)
PREFIXES = st.lists(PATH_PART, max_size=2).map(lambda parts: "".join(part + "/" for part in parts))


class StoreModel(RuleBasedStateMachine):
    keys = Bundle("keys")
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model: dict[str, Stored] = {}

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    def same_keys(self) -> None:
        assert self.do(self.store.keys("", after="", count=1000)) == sorted(self.model)

    @rule(target=keys, key=KEYS)
    def name_a_key(self, key: str) -> str:
        return key

    @rule(
        key=keys, expected=st.integers(0, 3), epoch=st.integers(1, 3), value=st.binary(min_size=1, max_size=9)
    )
    def put(self, key: str, expected: int, epoch: int, value: bytes) -> None:
        current = self.model[key].epoch if key in self.model else 0
        if current != expected:
            with pytest.raises(EpochConflict) as caught:
                self.do(self.store.put(key, expected=expected, epoch=epoch, value=value))
            assert caught.value.current == current
            return
        self.do(self.store.put(key, expected=expected, epoch=epoch, value=value))
        self.model[key] = Stored(epoch, value)

    @rule(key=keys, expected=st.integers(1, 3))
    def delete(self, key: str, expected: int) -> None:
        current = self.model[key].epoch if key in self.model else 0
        if current != expected:
            with pytest.raises(EpochConflict) as caught:
                self.do(self.store.delete(key, expected=expected))
            assert caught.value.current == current
            return
        self.do(self.store.delete(key, expected=expected))
        del self.model[key]

    @rule(key=keys)
    def get(self, key: str) -> None:
        assert self.do(self.store.get(key)) == self.model.get(key)

    @rule(prefix=PREFIXES, after=st.one_of(st.just(""), KEYS, st.text(max_size=4)), count=st.integers(1, 4))
    def list(self, prefix: str, after: str, count: int) -> None:
        wanted = sorted(key for key in self.model if key.startswith(prefix) and key > after)[:count]
        assert self.do(self.store.keys(prefix, after=after, count=count)) == wanted
