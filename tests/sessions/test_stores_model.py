"""Whatever is done in whatever order, a store holds what a dictionary would."""

import asyncio
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from service.sessions.records import Found, Gone, Record
from service.sessions.store import (
    Change,
    Conflict,
    Full,
    Limits,
    Missing,
    Outcome,
    Stored,
    Usage,
)
from tests.sessions.kept import DAY, HOUR, Clock, record

IDS = [f"s{n}" for n in range(6)]
LIMITS = Limits(sessions=5, bytes=60, tenant_sessions=4, tenant_bytes=40)

ids = st.lists(st.sampled_from(IDS), unique=True)
attempts = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["new", "next", "next", "next", "old"]),
        st.binary(max_size=16),
        st.binary(max_size=16),
        st.sampled_from([0.0, HOUR / 2, HOUR]),
    ),
    unique_by=lambda attempt: attempt[0],
)


class Dictionary:
    """What a store is, in as few words as can be."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.gone: dict[str, tuple[str, float]] = {}

    def find(self, id_: str, now: float) -> Found:
        if id_ in self.records:
            kept = self.records[id_]
            return kept if kept.expires > now else Gone(kept.tenant)
        tenant, forget = self.gone.get(id_, ("", now))
        return Gone(tenant) if forget > now else None

    def usage(self, tenant: str | None) -> Usage:
        sizes = [kept.size for kept in self.records.values() if tenant in (None, kept.tenant)]
        return Usage(len(sizes), sum(sizes))

    def write(self, change: Change, now: float) -> Outcome:
        new, found = change.record, self.find(change.record.id, now)
        if isinstance(found, Record):
            if found.tenant != new.tenant:
                return Missing()
            if found.step != change.after:
                return Conflict(found.step)
        elif isinstance(found, Gone) or change.after is not None:
            return Missing()
        before = self.records.get(new.id)
        self.records[new.id] = new
        grown = before is None or new.size > before.size
        for tenant, sessions, size in (
            (new.tenant, LIMITS.tenant_sessions, LIMITS.tenant_bytes),
            (None, LIMITS.sessions, LIMITS.bytes),
        ):
            used = self.usage(tenant)
            if used.sessions > sessions or (used.bytes > size and grown):
                del self.records[new.id]
                self.records |= {new.id: before} if before else {}
                return Full(tenant=tenant is not None)
        return Stored()

    def let_go(self, id_: str, now: float) -> None:
        if id_ in self.records:
            self.gone[id_] = (self.records.pop(id_).tenant, now + DAY)

    def expire(self, now: float, limit: int) -> int:
        ends = sorted((kept.expires, id_) for id_, kept in self.records.items())
        ended = [id_ for expires, id_ in ends if expires <= now][:limit]
        for id_ in ended:
            self.let_go(id_, now)
        return len(ended)


class Comparison(RuleBasedStateMachine):
    """The same calls to a store and to a dictionary."""

    def __init__(self, new_place) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = new_place()
        self.clock = Clock()
        self.dictionary = Dictionary()
        self.made = 0
        self.open()

    def open(self) -> None:
        async def opening():
            return self.place(clock=self.clock, limits=LIMITS)

        self.store = self.runner.run(opening())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()

    @rule(attempts=attempts)
    def write(self, attempts) -> None:
        changes = [self.change(attempt) for attempt in attempts]
        expected = [self.dictionary.write(change, self.clock.now) for change in changes]
        assert self.runner.run(self.store.write(changes)) == expected

    def change(self, attempt) -> Change:
        id_, tenant, kind, state, answer, lasting = attempt
        self.made += 1  # no two may end at the same moment: either could be let go first
        after = record(id_, tenant=tenant)
        if kind != "new":
            after = self.dictionary.records.get(id_, after)
        expires = self.clock.now + lasting + self.made / 1024
        made = replace(after, state=state, answer=answer, expires=expires)
        if kind == "new":
            return Change(made, after=None)
        made = replace(made, step=after.step + 1)
        return Change(made, after=after.step - (kind == "old"))

    @rule(ids=ids)
    def close(self, ids) -> None:
        for id_ in ids:
            self.dictionary.let_go(id_, self.clock.now)
        self.runner.run(self.store.close_sessions(ids))

    @rule(limit=st.integers(0, 4))
    def expire(self, limit) -> None:
        expected = self.dictionary.expire(self.clock.now, limit)
        assert self.runner.run(self.store.expire(self.clock.now, limit)) == expected

    @rule(seconds=st.sampled_from([HOUR / 4, HOUR, DAY - HOUR, DAY]))
    def wait(self, seconds) -> None:
        self.clock.now += seconds

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.open()

    @invariant()
    def holds_the_same(self) -> None:
        expected = [self.dictionary.find(id_, self.clock.now) for id_ in IDS]
        assert self.runner.run(self.store.read(IDS)) == expected
        for tenant in ("one", "two", None):
            assert self.runner.run(self.store.usage(tenant)) == self.dictionary.usage(tenant)


def test_a_store_holds_what_a_dictionary_would(new_place):
    run_state_machine_as_test(
        lambda: Comparison(new_place),
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
