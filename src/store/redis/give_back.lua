-- Gives back what was taken of counters by a request that was refused elsewhere, as far as it is still there: see
-- `spread.rs`. Never more, so that in doubt something stays taken.
--
-- KEYS     the counters, each once
-- ARGV[1]  the time in microseconds since 1970; '': the server's own
-- then     four numbers a key: the hits; of a window its end, and two zeros; of a bucket when they were taken, its length in
--          microseconds, and how much it drains in that
--
-- A value is written as `charge.lua` writes it, and expires when it did.

local call, floor, max = redis.call, math.floor, math.max
-- The largest whole number below which all are exact.
local MOST = 9007199254740991

local time_now = call('TIME')
local now = tonumber(ARGV[1]) or time_now[1] * 1000000 + time_now[2]

-- What of `hits` cannot have drained in so long: whole ones, and a fraction as a multiple of 1 / length.
local function left_of(hits, passed, length, count)
  if passed <= 0 then
    return hits, 0
  elseif hits * length > MOST then
    -- Too fine for numbers: a hit less, and a fraction.
    return max(floor(hits - passed / length * count * 1.000000001) - 1, 0), 0
  end
  local parts = max(hits * length - passed * count, 0)
  local whole = floor(parts / length)
  if whole * length > parts then
    whole = whole - 1
  end
  return whole, parts - whole * length
end

-- A bucket without what is left of those hits.
local function bucket(used, rest, passed, hits, length, count)
  local whole, part = left_of(hits, passed, length, count)
  used, rest = used - whole, rest - part
  if rest < 0 then
    used, rest = used - 1, rest + length
  end
  if used < 0 then
    return 0, 0
  end
  return used, rest
end

local seen = call('MGET', unpack(KEYS))
for place, key in ipairs(KEYS) do
  local first = 4 * place - 2
  local hits, time = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  local length, count = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local value = seen[place] or ''
  local used, rest, stop = string.match(value, '^(%d+) (%d+) (%d+)$')
  if used then
    used, rest, stop = tonumber(used), tonumber(rest), tonumber(stop)
    local used_now, rest_now = used, rest
    if count > 0 then
      used_now, rest_now = bucket(used, rest, now - time, hits, length, count)
    elseif stop == time then
      -- Who gave back meanwhile has taken it from the window before, where that counts too.
      used_now, rest_now = max(used - hits, 0), max(rest + math.min(used - hits, 0), 0)
    end
    if used_now ~= used or rest_now ~= rest then
      call('SET', key, string.format('%.0f %.0f %.0f', used_now, rest_now, stop), 'KEEPTTL')
    end
  elseif string.match(value, '^%d+$') and call('PEXPIRETIME', key) * 1000 == time then
    -- A window that is a number alone ends when its key expires.
    call('SET', key, string.format('%.0f', max(tonumber(value) - hits, 0)), 'KEEPTTL')
  end
end
return #KEYS
