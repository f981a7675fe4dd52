"""Both backends and a plain dictionary answer alike, whatever is asked of them."""

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_backend.memory import PostgresMemory, RedisMemory
from agent_backend.memory.globs import parse_glob

pytestmark = [pytest.mark.integration, pytest.mark.postgres, pytest.mark.redis]

names = st.text(alphabet="ab_%\\*?[]^-./:{}\n'é\u0301\ue000\U0001f600", min_size=1, max_size=5)
keys = names.map("aqe/{}".format)
partitions = names
patterns = st.one_of(names, keys, keys.map("{}*".format), st.just("*"), st.just("aqe/?"))
values = st.one_of(st.none(), st.integers(), st.text(alphabet=st.characters(categories=None), max_size=5))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("store"), keys, values, partitions),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("retrieve"), keys),
        st.tuples(st.just("clear_partition"), partitions),
        st.tuples(st.just("search"), patterns),
        st.tuples(st.just("list_keys"), names | keys | st.just("aqe/")),
        st.tuples(st.just("partitions")),
    ),
    max_size=25,
)
tenants = itertools.count()


class DictMemory:
    """The same promises on a dictionary; the keys in it are in the namespace, so nothing has to be checked."""

    def __init__(self):
        self.items = {}

    async def store(self, key, value, _ttl, partition):
        self.items[key] = value, partition

    async def delete(self, key):
        self.items.pop(key, None)

    async def retrieve(self, key):
        return self.items.get(key, (None,))[0]

    async def clear_partition(self, partition):
        self.items = {key: item for key, item in self.items.items() if item[1] != partition}

    async def search(self, pattern):
        glob = parse_glob(pattern)
        return {key: self.items[key][0] for key in sorted(self.items) if glob.matches(key)}

    async def list_keys(self, prefix):
        return sorted(key for key in self.items if key.startswith(prefix))

    async def get_stats(self):
        return {"partitions": Counter(partition for _, partition in self.items.values())}


async def perform(memory, operation):
    name, *arguments = operation
    if name == "store":
        key, value, partition = arguments
        return await memory.store(key, value, 60, partition)
    if name == "partitions":
        return dict((await memory.get_stats())["partitions"])
    answer = await getattr(memory, name)(*arguments)
    return list(answer.items()) if isinstance(answer, dict) else answer


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(operations=operations)
async def test_postgres_redis_and_a_dictionary_answer_alike(postgres_db_manager, redis_database, operations):
    tenant = f"tenant {next(tenants)}"
    memories = (
        PostgresMemory(postgres_db_manager, tenant=tenant),
        RedisMemory(database=redis_database, tenant=tenant),
        DictMemory(),
    )

    for operation in (*operations, ("list_keys", "aqe/"), ("search", "*"), ("partitions",)):
        by_postgres, by_redis, by_model = [await perform(memory, operation) for memory in memories]
        assert by_postgres == by_model, operation
        assert by_redis == by_model, operation


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=names, text=names)
async def test_a_pattern_means_the_same_to_postgres(postgres_db_manager, pattern, text):
    glob = parse_glob(pattern)

    assert await postgres_db_manager.fetchval("SELECT $1::text ~ $2", text, glob.postgres_regex) == glob.matches(text)
