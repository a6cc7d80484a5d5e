-- Keeps what replicas tell each other: merges what this one tells into the book that all share, and returns what has
-- changed there since it last asked.
--
-- KEYS[1]  the book: a hash of `stamp until bytes` by name; and as `first` and `version`, the numbers of its first and its
--          last change
-- KEYS[2]  the names by the number of their last change, in a sorted set
-- ARGV[1]  the time in microseconds since 1970; '': the server's own
-- ARGV[2]  the number of the last change that this replica has seen
-- ARGV[3]  how many entries the book may have, ARGV[4] how many are returned at most, ARGV[5] in how many bytes
-- ARGV[6]  of how many names those follow that are over as far as this replica knows
-- then     what it tells, five words an entry: its name, 'new' where it has just been written, stamp, until, bytes;
--          until 0: it lets go of the entry with this stamp, which need not be kept to its end
--
-- Of two entries of one name the one with the later stamp stays, of equal stamps the one with the larger bytes. A new
-- entry gets a stamp later than that of what it replaces. What was replaced may still come from a replica that knows no
-- better, so that no entry goes before the last of those that had its name would have ended.
--
-- Returns the time, the number of the first change, of the last before this call and of the last that is returned, how many
-- more changes there are, how many entries found no room; then a name and what stands under it, over and over.

-- Nothing is kept for less than an hour: there is nobody whom it disturbs, and clocks of tests stand still.
local LEAST_KEPT_MS = 3600000
-- The largest whole number that is counted to. What nobody of us wrote is older than everything.
local MOST = 9007199254740991

local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local now = tonumber(ARGV[1]) or clock

-- A type that is none of ours; or one of the two keys was lost, or somebody wrote here by hand: whoever lives tells all he
-- knows anew. Every change has a number from 1 to that of the last: a replica that asks for those after its own would
-- otherwise ask for ever.
local function is(place, type)
  local found = redis.call('TYPE', KEYS[place]).ok
  return found == type or found == 'none'
end
local function is_whole(number)
  return number and number >= 0 and number <= MOST and number == math.floor(number)
end
local count = is(1, 'hash') and is(2, 'zset') and redis.call('ZCARD', KEYS[2])
local first = count and tonumber(redis.call('HGET', KEYS[1], 'first') or 0)
local version = count and tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if
  not (is_whole(first) and is_whole(version))
  or count ~= redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], 'first') - redis.call('HEXISTS', KEYS[1], 'version')
  or (first == 0) ~= (version == 0)
  or count ~= redis.call('ZCOUNT', KEYS[2], '(0', string.format('%.0f', version))
then
  redis.call('UNLINK', KEYS[1], KEYS[2])
  count, first, version = 0, 0, 0
end

local before, longest, written = version, 0, false

-- Numbers come from the clock, so that those of a book that was lost are not given again: by the first of them a book is
-- told from the one that was there before.
local function change(name)
  version, written = math.max(version + 1, clock), true
  if first == 0 then
    first = version
    redis.call('HSET', KEYS[1], 'first', string.format('%.0f', first))
  end
  redis.call('ZADD', KEYS[2], string.format('%.0f', version), name)
end

local function read(name)
  local value = redis.call('HGET', KEYS[1], name)
  if not value then
    return nil
  end
  local stamp, stop, bytes = string.match(value, '^(%d+) (%d+) (.*)$')
  stamp, stop, bytes = tonumber(stamp) or 0, tonumber(stop) or 0, bytes or ''
  if stamp > MOST or stop > MOST then
    return 0, 0, ''
  end
  return stamp, stop, bytes
end

-- As numbers: the order of texts is not the same on all servers.
local function is_larger(a, b)
  if a == b then
    return false
  end
  for place = 1, math.min(#a, #b) do
    local x, y = string.byte(a, place), string.byte(b, place)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local function remove(name)
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  count = count - 1
end

local told = 7 + ARGV[6]
for place = 7, told - 1 do
  local stamp, stop = read(ARGV[place])
  if stamp and stop <= now then
    remove(ARGV[place])
  end
end

local no_room = 0
for place = told, #ARGV, 5 do
  local name, stamp, stop, bytes = ARGV[place], tonumber(ARGV[place + 2]), tonumber(ARGV[place + 3]), ARGV[place + 4]
  local known, known_stop, known_bytes = read(name)
  if ARGV[place + 1] == 'new' then
    stamp = math.max(stamp, clock, (known or 0) + 1)
  end
  if known and (stamp < known or (stamp == known and not is_larger(bytes, known_bytes))) then
    stamp, bytes = known, known_bytes
  end
  local lets_go = stop == 0
  stop = math.max(stop, known_stop or 0)
  if lets_go then
    -- One that was written over meanwhile is another.
    if known == tonumber(ARGV[place + 2]) then
      remove(name)
    end
  elseif not known and count >= tonumber(ARGV[3]) then
    no_room = no_room + 1
  elseif stamp ~= known or stop ~= known_stop or bytes ~= known_bytes then
    redis.call('HSET', KEYS[1], name, string.format('%.0f %.0f ', stamp, stop) .. bytes)
    change(name)
    longest = math.max(longest, stop - now)
    count = count + (known and 0 or 1)
  end
end

if written then
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version))
  local kept = math.max(redis.call('PTTL', KEYS[1]), math.floor(longest / 1000) + LEAST_KEPT_MS)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', kept))
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', kept))
end

-- Who has seen more than there is has seen a book that was lost.
local since = ARGV[2]
if tonumber(since) > before then
  since = '0'
end
if tonumber(since) == version then
  return {now, first, before, version, 0, no_room}
end
local answer, bytes, seen = {now, first, before, version, 0, no_room}, 0, version
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for place = 1, #names, 2 do
  local value = redis.call('HGET', KEYS[1], names[place]) or ''
  bytes = bytes + #value
  if place > 1 and bytes > tonumber(ARGV[5]) then
    break
  end
  answer[#answer + 1] = names[place]
  answer[#answer + 1] = value
  seen = tonumber(names[place + 1])
end
answer[5] = redis.call('ZCOUNT', KEYS[2], '(' .. string.format('%.0f', seen), '+inf')
if answer[5] > 0 then
  answer[4] = seen
end
return answer
