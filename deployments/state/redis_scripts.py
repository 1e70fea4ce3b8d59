"""What has to happen at once inside Redis, in Lua; `KEYS[1]` is the shop's key prefix in every script."""

ARRIVAL_DIGITS = 16
"""An event's place in the order of arrival stands in front of it, so that equal times sort by arrival."""

APPEND_EVENTS = """
-- ARGV: three settings, then nine values per event: user, event id, fingerprint, known_us, timestamp_us, item, type,
-- what the profile keeps of it ('' nothing), the whole event. Returns one letter per event.
local prefix, window_us, profile_events, forget_s = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local outcomes, accepted = {}, 0
for at = 4, #ARGV, 9 do
  local user = redis.call('HGET', prefix .. 'aliases', ARGV[at]) or ARGV[at]
  local id, fingerprint, known_us, timestamp_us = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local item, kind, interest, body = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local held = redis.call('HGET', prefix .. 'ids:' .. user, id)
  local held_known, held_fingerprint = string.match(held or '', '^(%-?%d+) (.+)$')
  if held_known and tonumber(known_us) - tonumber(held_known) < window_us then
    outcomes[#outcomes + 1] = held_fingerprint == fingerprint and 'd' or 'c'
  else
    local arrival = string.format('%016.0f', redis.call('INCR', prefix .. 'event_seq'))
    redis.call('HSET', prefix .. 'ids:' .. user, id, known_us .. ' ' .. fingerprint)
    redis.call('EXPIRE', prefix .. 'ids:' .. user, forget_s)
    redis.call('SADD', prefix .. 'event_users', user)
    redis.call('ZADD', prefix .. 'events:' .. user, timestamp_us, arrival .. body)
    if item ~= '' then redis.call('SADD', prefix .. 'seen:' .. user, item) end
    if interest ~= '' then
      local profile = prefix .. 'profile:' .. user
      redis.call('ZADD', profile, timestamp_us, arrival .. interest)
      redis.call('ZREMRANGEBYRANK', profile, 0, -profile_events - 1)
    end
    if kind == 'purchase' and item ~= '' then
      redis.call('ZADD', prefix .. 'bought:' .. user, 'GT', timestamp_us, item)
    end
    outcomes[#outcomes + 1] = 'a'
    accepted = accepted + 1
  end
end
redis.call('HINCRBY', prefix .. 'counters', 'events', accepted)
return table.concat(outcomes)
"""

PROFILE = """
local user = redis.call('HGET', KEYS[1] .. 'aliases', ARGV[1]) or ARGV[1]
return redis.call('ZRANGE', KEYS[1] .. 'profile:' .. user, 0, -1, 'WITHSCORES')
"""

PURCHASED = """
local user = redis.call('HGET', KEYS[1] .. 'aliases', ARGV[1]) or ARGV[1]
return redis.call('ZRANGE', KEYS[1] .. 'bought:' .. user, ARGV[2], '+inf', 'BYSCORE')
"""

SEEN = """
local user = redis.call('HGET', KEYS[1] .. 'aliases', ARGV[1]) or ARGV[1]
return redis.call('SMEMBERS', KEYS[1] .. 'seen:' .. user)
"""

CATALOGUE_SINCE = """
local log, after = KEYS[1] .. 'catalogue', '(' .. ARGV[1]
local found = redis.call('ZRANGE', log, after, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local entries = {}
for at = 1, #found, 2 do
  entries[#entries + 1] = {found[at + 1], found[at], redis.call('HGET', KEYS[1] .. 'items', found[at])}
end
return entries
"""

RAISE_CATALOGUE_SEQ = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1] .. 'catalogue_seq') or '0') then
  redis.call('SET', KEYS[1] .. 'catalogue_seq', ARGV[1])
end
"""

LOG_RECOMMENDATIONS = """
-- ARGV: how many to keep, then id and JSON of each answer.
local bodies, order = KEYS[1] .. 'recommendations', KEYS[1] .. 'recommendation_order'
for at = 2, #ARGV, 2 do
  if redis.call('HSETNX', bodies, ARGV[at], ARGV[at + 1]) == 1 then
    redis.call('ZADD', order, redis.call('INCR', KEYS[1] .. 'recommendation_seq'), ARGV[at])
  end
end
local surplus = redis.call('ZCARD', order) - tonumber(ARGV[1])
if surplus > 0 then
  for _, id in ipairs(redis.call('ZRANGE', order, 0, surplus - 1)) do redis.call('HDEL', bodies, id) end
  redis.call('ZREMRANGEBYRANK', order, 0, surplus - 1)
end
"""
