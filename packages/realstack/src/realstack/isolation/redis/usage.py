"""Which commands a test ran, and so which parts of the server can have changed.

``INFO commandstats`` counts every command that ran, from clients, transactions, scripts and modules alike. Reading it
costs some microseconds; it makes the costly comparisons unnecessary for the tests that give no reason for them.
"""

import re
from typing import Final

_COUNT: Final = re.compile(rb"cmdstat_(\S+?):calls=(\d+)")

SENTINEL: Final = b"lastsave"
"""Run by the kit after each CONFIG RESETSTAT: when it is not counted, the test has reset the counts itself."""

#: Commands that change what is not data, and what that is. Subcommands are counted apart since Redis 7.
_EFFECTS: Final[dict[bytes, str]] = {
    b"config": "state files",
    b"config|set": "state files",
    b"config|rewrite": "files",
    b"acl": "state",
    b"acl|setuser": "state",
    b"acl|deluser": "state",
    b"acl|load": "state",
    b"function": "state",
    b"function|load": "state",
    b"function|delete": "state",
    b"function|flush": "state",
    b"function|restore": "state",
    b"module": "state",
    b"module|load": "state",
    b"module|loadex": "state",
    b"module|unload": "state",
    b"replicaof": "state files",
    b"slaveof": "state files",
    b"failover": "state",
    b"debug": "state files debug",
    b"save": "files",
    b"bgsave": "files",
    b"bgrewriteaof": "files",
    b"sync": "files",
    b"psync": "files",
    b"eval": "scripts",
    b"eval_ro": "scripts",
    b"evalsha": "scripts",
    b"script": "scripts",
    b"script|load": "scripts",
    b"watch": "watch",
}
EVERYTHING: Final = frozenset({"state", "files", "debug", "scripts", "watch", "data"})

#: Commands that cannot change a key. Everything not listed here is taken for a write.
_READS: Final = frozenset(
    b"get mget strlen getrange substr exists ttl pttl expiretime pexpiretime type keys scan dbsize randomkey touch "
    b"dump hget hmget hgetall hlen hkeys hvals hexists hscan hstrlen hrandfield llen lindex lrange lpos smembers "
    b"sismember smismember scard srandmember sscan sinter sunion sdiff sintercard zrange zrangebyscore zrevrange "
    b"zrevrangebyscore zrangebylex zrevrangebylex zlexcount zscore zmscore zcard zcount zrank zrevrank zscan "
    b"zrandmember zdiff zinter zunion zintercard xrange xrevrange xlen xread xinfo xpending geopos geodist geohash "
    b"geosearch georadius_ro georadiusbymember_ro getbit bitcount bitpos bitfield_ro lcs sort_ro object memory ping "
    b"echo select auth hello client command info time role multi exec discard watch unwatch subscribe unsubscribe "
    b"psubscribe punsubscribe ssubscribe sunsubscribe publish spublish pubsub wait config acl slowlog latency "
    b"lastsave quit reset monitor readonly readwrite asking script function lolwut".split()
)


def effects_of(commandstats: bytes) -> frozenset[str]:
    """Return which parts may differ from the baseline: of ``EVERYTHING``."""
    counts = {name: int(calls) for name, calls in _COUNT.findall(commandstats)}
    if not counts.pop(SENTINEL, 0):
        return EVERYTHING
    if counts.get(b"config") == 1:
        del counts[b"config"]  # before Redis 7 this is the kit's own RESETSTAT
    found: set[str] = set()
    for name, calls in counts.items():
        if not calls:
            continue  # refused before it ran
        found.update(_EFFECTS.get(name, "").split())
        if name.partition(b"|")[0] not in _READS or name == b"function|flush":
            found.add("data")
    return frozenset(found)
