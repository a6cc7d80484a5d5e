-- Forgets counters and blocks.
--
-- KEYS     theirs, each once
-- ARGV[1]  the time in microseconds since 1970; '': the server's own
--
-- Returns what each held before, and the time.

local seen = redis.call('MGET', unpack(KEYS))
redis.call('DEL', unpack(KEYS))
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
seen[#KEYS + 1] = now
return seen
