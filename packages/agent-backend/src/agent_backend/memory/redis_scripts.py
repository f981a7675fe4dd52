"""What ``RedisMemory`` does inside Redis, where a script is one indivisible step.

Each tenant has four index keys beside its values, always given as KEYS 1 to 4:

1. keys: sorted set, every score 0, so that its members sort by code point and a prefix is a range;
2. expiries: sorted set of the keys that expire, by their moment in milliseconds;
3. partitions: sorted set of ``partition NUL key``, so that a partition is a range;
4. versions: hash, key -> ``version:partition``.

An item's value is a string of its own with Redis' native expiry at the same millisecond, so a read is one GET. The
index drops expired members before it answers and some of them whenever it grows. While every member expires, the index
does so too, an hour after the last of them at the most, so that nothing of an idle tenant stays behind.

Large numbers stay texts or go through ``string.format``: Lua would write them as ``1.7e+15``.
"""

from typing import Final

from agent_backend.storage.redis import RedisScript

#: Expired members one call drops at the most; a script stops the server for everyone while it runs.
SWEEP_LIMIT: Final = 1000
_SWEEP_WHEN_GROWING: Final = 16
_INDEX_SLACK_MS: Final = 3_600_000

_NAMES: Final = """
local keys, expiries, partitions, versions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
"""

#: Seconds, microseconds as six digits, milliseconds since 1970: all as texts.
_CLOCK: Final = """
local time = redis.call('TIME')
local seconds, micros = time[1], string.format('%06d', time[2])
local now = seconds .. string.sub(micros, 1, 3)
"""

_FORGET: Final = r"""
local function forget(key)
  local known = redis.call('HGET', versions, key)
  redis.call('ZREM', keys, key)
  redis.call('ZREM', expiries, key)
  if known then
    redis.call('ZREM', partitions, string.sub(known, string.find(known, ':', 1, true) + 1) .. '\0' .. key)
    redis.call('HDEL', versions, key)
  end
end
"""

#: Redis' own rule: an item is gone once its moment has passed.
_SWEEP: Final = (
    _FORGET
    + """
local function sweep(limit)
  local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', '(' .. now, 'LIMIT', 0, limit)
  for _, key in ipairs(gone) do forget(key) end
  return #gone
end
"""
)

_EXPIRE_INDEX: Final = f"""
local function expire_index(moment)
  local at = string.format('%.0f', tonumber(moment) + {_INDEX_SLACK_MS})
  for _, index in ipairs(KEYS) do redis.call('PEXPIREAT', index, at) end
end
"""

#: For when the last member that lives for ever may have gone.
_SETTLE: Final = """
if redis.call('PTTL', keys) == -1 and redis.call('ZCARD', keys) == redis.call('ZCARD', expiries) then
  expire_index(redis.call('ZREVRANGE', expiries, 0, 0, 'WITHSCORES')[2])
end
"""

#: ARGV: key of the value, key, value as JSON, partition, partition as JSON, lifetime in ms or '', metadata as JSON.
STORE: Final = RedisScript(
    _NAMES
    + _CLOCK
    + r"""
local slot, key, partition, ttl = ARGV[1], ARGV[2], ARGV[4], ARGV[6]
local version = seconds .. micros
local known = redis.call('HGET', versions, key)
local old_partition = nil
if known then
  local colon = string.find(known, ':', 1, true)
  local before = tonumber(string.sub(known, 1, colon - 1))
  old_partition = string.sub(known, colon + 1)
  -- microseconds are exact in a Lua number until the year 2255
  if before >= tonumber(version) then version = string.format('%.0f', before + 1) end
end
local moment, expires_at = nil, 'null'
if ttl ~= '' then
  moment = string.format('%.0f', tonumber(now) + tonumber(ttl))
  expires_at = string.sub(moment, 1, -4) .. '.' .. string.sub(moment, -3)
end

local body = '{"value":' .. ARGV[3] .. ',"partition":' .. ARGV[5] .. ',"created_at":' .. seconds .. '.' .. micros
  .. ',"expires_at":' .. expires_at .. ',"version":' .. version .. ',"metadata":' .. ARGV[7] .. '}'
if moment then
  redis.call('SET', slot, body, 'PXAT', moment)
  redis.call('ZADD', expiries, moment, key)
else
  redis.call('SET', slot, body)
  redis.call('ZREM', expiries, key)
end
redis.call('HSET', versions, key, version .. ':' .. partition)
if old_partition ~= partition then
  if old_partition then
    redis.call('ZREM', partitions, old_partition .. '\0' .. key)
  else
    redis.call('ZADD', keys, 0, key)
"""
    # functions are made where they are used: making one costs what a command costs
    + _SWEEP
    + f"sweep({_SWEEP_WHEN_GROWING})"
    + r"""
  end
  redis.call('ZADD', partitions, 0, partition .. '\0' .. key)
end

local left = redis.call('PTTL', keys)
if moment and left >= tonumber(ttl) then return end
if left ~= -1 and not moment then
  for _, index in ipairs(KEYS) do redis.call('PERSIST', index) end
  return
end
"""
    + _EXPIRE_INDEX
    + "if left ~= -1 then return expire_index(moment) end"
    + _SETTLE
)

#: ARGV: key of the value, key.
DELETE: Final = RedisScript(
    _NAMES
    + _FORGET
    + _EXPIRE_INDEX
    + """
redis.call('DEL', ARGV[1])
forget(ARGV[2])
"""
    + _SETTLE
)

#: ARGV: first key as a lexical bound, last key likewise, how many. Answers false when there is more to sweep first.
LIST: Final = RedisScript(
    _NAMES
    + _CLOCK
    + _SWEEP
    + f"""
if sweep({SWEEP_LIMIT}) == {SWEEP_LIMIT} then return false end
return redis.call('ZRANGEBYLEX', keys, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
"""
)

#: ARGV: what the values' keys start with, first member as a lexical bound, last likewise, how many.
#: Answers the last key forgotten, '' when that was all.
CLEAR: Final = RedisScript(
    _NAMES
    + _FORGET
    + _EXPIRE_INDEX
    + r"""
local found = redis.call('ZRANGEBYLEX', partitions, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local last = ''
for _, member in ipairs(found) do
  last = string.sub(member, string.find(member, '\0', 1, true) + 1)
  redis.call('DEL', ARGV[1] .. last)
  forget(last)
end
"""
    + _SETTLE
    + """
if #found < tonumber(ARGV[4]) then return '' end
return last
"""
)

#: ARGV: low key, high key. Answers partition, count, partition, count ...; false when there is more to sweep first.
COUNT: Final = RedisScript(
    _NAMES
    + _CLOCK
    + _SWEEP
    + f"""
if sweep({SWEEP_LIMIT}) == {SWEEP_LIMIT} then return false end
local answer, from = {{}}, '-'
while true do
  local member = redis.call('ZRANGEBYLEX', partitions, from, '+', 'LIMIT', 0, 1)[1]
  if not member then return answer end
  local name = string.sub(member, 1, string.find(member, '\\0', 1, true) - 1)
  local count = redis.call('ZLEXCOUNT', partitions, '[' .. name .. '\\0' .. ARGV[1], '(' .. name .. '\\0' .. ARGV[2])
  answer[#answer + 1] = name
  answer[#answer + 1] = count
  from = '[' .. name .. '\\1'
end
"""
)
