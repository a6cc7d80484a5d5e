-- Decides all charges of one request over the counters they meet and charges them, in one atomic step: what
-- `charge::settle` does, to the hit. Only the state that is left is worked out here; what is told of it, `settle` works
-- out from what this returns.
--
-- KEYS  the counters and blocks that the request meets, each once
-- ARGV  either what is asked: a MessagePack list of whole numbers, see `ask.rs`; or, where each charge takes as much of a
--       PLAIN window of its own and nothing else is asked, the hits, and such a list: each limit, and then the length of
--       each window in milliseconds
--
-- Lua's numbers are doubles: whole numbers are exact below 2^53, and nothing here is let grow beyond.
--
-- A key holds three of them, `used rest time`, whose meaning is their algorithm's: see `limit`. Of a PLAIN window it holds
-- one, the hits, and expires when the window ends. What is of neither form (another type, a value that someone wrote by
-- hand) is taken for nothing and replaced.
--
-- For keys, time stands still from the script's first moment on; for TIME it does not, and the machine may let the server
-- wait in between. So nothing is concluded from both together. A key lives through the millisecond in which it expires: who
-- comes then and finds room in it is counted there, and not in the window that has just begun. (It could not expire a
-- millisecond earlier: told so in that very one, the server deletes it at once, and nothing would be counted until the end.)

local call = redis.call

-- What one charge is told in: its seat, and from there on.
local ALGORITHM, LENGTH, LONGEST, COUNT, CAPACITY, ROLE, ROOM, TAKE, DESCRIPTOR = 1, 2, 3, 4, 5, 6, 7, 8, 9
local FIELDS = 10
local SLIDING, BUCKET, PLAIN = 1, 2, 3
local asked

if ARGV[2] then
  -- The usual request fits: so each charge is taken, and given back where that was too much. Then nothing has happened,
  -- and it is decided at length.
  local KEYS, try, tonumber = KEYS, redis.pcall, tonumber
  local keys, hits, now = #KEYS, ARGV[1], nil
  -- Each limit, until the hits that its key holds now take the place: another table would cost.
  local fresh, taken = tonumber(hits), cmsgpack.unpack(ARGV[2])
  for seat = 1, keys do
    -- Of an error there is no number.
    local used = tonumber(try('INCRBY', KEYS[seat], hits))
    if not used or used < fresh or used > taken[seat] then
      taken[seat] = used
      for back = 1, seat do
        if taken[back] == fresh then
          call('DEL', KEYS[back])
        elseif taken[back] then
          call('DECRBY', KEYS[back], hits)
        end
      end
      taken = nil
      break
    elseif used == fresh then
      if not now then
        local time = call('TIME')
        now = time[1] * 1000000 + time[2]
      end
      local now_ms, length_ms = math.floor(now / 1000), taken[keys + seat]
      call('PEXPIREAT', KEYS[seat], now_ms - now_ms % length_ms + length_ms)
    end
    taken[seat] = used
  end
  -- What each key holds now, and the time if it was read. A number costs less than a list of one.
  if taken then
    if keys == 1 and not now then
      return taken[1]
    end
    taken[keys + 1], taken[keys + 2] = now, nil
    return taken
  end
  asked = { 0, 0, 0, keys, 0 }
  local limits = cmsgpack.unpack(ARGV[2])
  for seat = 1, keys do
    local count, length = limits[seat], limits[keys + seat] * 1000
    for _, number in ipairs({ seat, PLAIN, length, length, count, count, 0, fresh, fresh, 0 }) do
      asked[#asked + 1] = number
    end
  end
else
  asked = cmsgpack.unpack(ARGV[1])
end

-- At length. Returns what each key held before, the time, and whether the request is refused.

-- Where time is given it may stand still, and what would end soon is kept for an hour longer.
local now, longer_ms = asked[1], 3600000
if now == 0 then
  longer_ms = 1
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- Largest whole number that is counted to: counts stop there, and what is that full refuses.
local MOST = 9007199254740991
local QUOTA, OVERDRAW, SHADOW = 1, 2, 3
local each_alone, denied = asked[2] == 1, asked[3] == 1
local first = 6
local last = first + asked[4] * FIELDS - 1
local first_gate = last + 1
local last_gate = last + asked[5] * 4

local floor, min, max = math.floor, math.min, math.max
local seen = call('MGET', unpack(KEYS))
local used, rest, time = {}, {}, {}
for seat = 1, #KEYS do
  local u, r, t
  if seen[seat] then
    u, r, t = string.match(seen[seat], '^(%d+) (%d+) (%d+)$')
  end
  used[seat], rest[seat], time[seat] = tonumber(u) or 0, tonumber(r) or 0, tonumber(t) or 0
end

-- The hits in a bucket now: whole ones, and the fraction as a multiple of 1 / length.
local function drained(c)
  local seat, length, count = asked[c], asked[c + LENGTH], asked[c + COUNT]
  local u, f, passed = used[seat], rest[seat], now - time[seat]
  if passed <= 0 then
    return u, f
  end
  local lengths = floor(passed / length)
  local part = passed - lengths * length
  if lengths * count > u then
    return 0, 0
  end
  u = u - lengths * count
  -- part * count = hits * length + remainder
  local hits, remainder = 0, 0
  if part * count <= MOST then
    hits = floor(part * count / length)
    remainder = part * count - hits * length
  else
    local bit, left = 4503599627370496, count
    while bit >= 1 do
      hits, remainder = hits * 2, remainder * 2
      if remainder >= length then
        hits, remainder = hits + 1, remainder - length
      end
      if left >= bit then
        left, remainder = left - bit, remainder + part
        if remainder >= length then
          hits, remainder = hits + 1, remainder - length
        end
      end
      bit = bit / 2
    end
  end
  f = f - remainder
  if f < 0 then
    u, f = u - 1, f + length
  end
  u = u - hits
  if u < 0 then
    return 0, 0
  end
  return u, f
end

-- The length of the window of a calendar that ends at `stop`; as long as any, where the clock has jumped so far that
-- nobody sent it.
local function calendar_length(c, stop)
  local edges = -asked[c + LENGTH]
  for edge = edges + 1, edges + 3 do
    if asked[edge] == stop then
      return stop - asked[edge - 1]
    end
  end
  return asked[c + LONGEST]
end

-- Whether a / b is at least c / d, exactly.
local function at_least(a, b, c, d)
  while true do
    local p, q = floor(a / b), floor(c / d)
    if p ~= q then
      return p > q
    end
    a, c = a - p * b, c - q * d
    if c == 0 then
      return true
    elseif a == 0 then
      return false
    end
    a, b, c, d = d, c, b, a
  end
end

-- Whether a counter has the room that a charge asks for.
local function has_room(c)
  local hits = asked[c + ROOM]
  if hits == 0 then
    return true
  end
  local algorithm, seat = asked[c + ALGORITHM], asked[c]
  if algorithm == BUCKET then
    local left = asked[c + CAPACITY] - hits
    local u, f = drained(c)
    return u < left or (u == left and f == 0)
  end
  local left = asked[c + COUNT] - used[seat] - hits
  if algorithm ~= SLIDING or left < 0 or rest[seat] == 0 then
    return left >= 0
  end
  local length = asked[c + LENGTH]
  if length < 0 then
    length = calendar_length(c, time[seat])
  end
  return at_least(left, min(time[seat] - now, length), rest[seat], length)
end

-- The counters that were changed, each with the last charge that did, and how they were before.
local changed, used_before, rest_before, time_before = {}, {}, {}, {}

-- Charges, or gives back what is below zero.
local function take(c)
  local seat, hits, is_bucket = asked[c], asked[c + TAKE], asked[c + ALGORITHM] == BUCKET
  -- Giving back nothing still brings a bucket up to date.
  if hits == 0 and (asked[c + ROOM] > 0 or not is_bucket) then
    return
  end
  if not changed[seat] then
    used_before[seat], rest_before[seat], time_before[seat] = used[seat], rest[seat], time[seat]
  end
  changed[seat] = c
  if is_bucket then
    local u, f = drained(c)
    if u + hits < 0 then
      used[seat], rest[seat], time[seat] = 0, 0, 0
    else
      used[seat], rest[seat], time[seat] = min(u + hits, MOST), f, max(time[seat], now)
    end
    return
  end
  local sum = used[seat] + hits
  if sum < 0 and asked[c + ALGORITHM] == SLIDING then
    rest[seat] = max(rest[seat] + sum, 0)
  end
  used[seat] = max(min(sum, MOST), 0)
end

-- The ends of the PLAIN windows that are there.
local stays_until = {}

-- The hits of a PLAIN window, whose end its expiry tells. What has no expiry is none of ours.
local function read_plain(seat)
  local hits, stop_ms = seen[seat] and string.match(seen[seat], '^%d+$'), -1
  if hits then
    stop_ms = call('PEXPIRETIME', KEYS[seat])
  end
  if stop_ms >= 0 then
    used[seat], time[seat] = min(tonumber(hits), MOST), stop_ms * 1000
    seen[seat] = string.format('%.0f 0 %.0f', used[seat], time[seat])
  else
    used[seat], time[seat], seen[seat] = 0, 0, false
  end
  rest[seat], stays_until[seat] = 0, time[seat]
end

-- Every counter as it is now. Buckets that are empty, or whose clock was set back, stay so: they would drain otherwise by
-- another limit's rate, or not at all.
local settled = {}
for c = first, last, FIELDS do
  local seat, algorithm, length, longest = asked[c], asked[c + ALGORITHM], asked[c + LENGTH], asked[c + LONGEST]
  if algorithm == PLAIN and not stays_until[seat] then
    read_plain(seat)
  end
  local stop = time[seat]
  if algorithm == BUCKET then
    local u, f = drained(c)
    if u == 0 and f == 0 then
      used[seat], rest[seat], time[seat], settled[seat] = 0, 0, 0, seen[seat] and c or nil
    elseif stop - now > max(longest, 1000000) then
      time[seat], settled[seat] = now, c
    end
  elseif now >= stop or stop - now > 2 * longest then
    local start
    if length > 0 then
      start = now - now % length
      time[seat] = start + length
    else
      for edge = -length, -length + 2 do
        if asked[edge] <= now and now < asked[edge + 1] then
          start, time[seat] = asked[edge], asked[edge + 1]
        end
      end
      if not start then
        return redis.error_reply('CLOCK of the server is too far from that of the service')
      end
    end
    rest[seat] = (algorithm == SLIDING and stop == start) and used[seat] or 0
    used[seat] = 0
  end
end

-- Blocks: the seconds they were begun for, and their end. Which descriptors are blocked?
local blocked, any_blocked = {}, false
for g = first_gate, last_gate, 4 do
  local seat = asked[g]
  local left = time[seat] - now
  if left <= 0 or left > 2000000 * used[seat] then
    used[seat], rest[seat], time[seat], left = 0, 0, 0, 0
  end
  if left > 0 or asked[g + 3] > now then
    blocked[asked[g + 1]], any_blocked = true, true
  end
end

local fits = {}
local no_room, quota_seen, quota_room = denied or any_blocked, false, asked[3] == 2

-- Looks at the charges of shadows, or at all others, a group at a time: those of one descriptor and role take together
-- or not at all, and the next ones see it.
local function pass(shadows)
  local c = first
  while c <= last do
    local role, descriptor = asked[c + ROLE], asked[c + DESCRIPTOR]
    local chosen, all_fit, next_group = (role == SHADOW) == shadows, true, c
    repeat
      if chosen then
        if each_alone then
          take(next_group)
          fits[next_group] = asked[next_group + ROOM] == 0 or used[asked[next_group]] <= asked[next_group + COUNT]
        else
          fits[next_group] = has_room(next_group)
        end
        all_fit = all_fit and fits[next_group]
      end
      next_group = next_group + FIELDS
    until next_group > last or asked[next_group + ROLE] ~= role or asked[next_group + DESCRIPTOR] ~= descriptor
    if chosen then
      if not each_alone then
        for charge = c, next_group - 1, FIELDS do
          if (all_fit and not blocked[descriptor]) or role == OVERDRAW or asked[charge + ROOM] == 0 then
            take(charge)
          end
        end
      end
      if role == QUOTA then
        quota_seen, quota_room = true, quota_room or all_fit
      elseif role ~= SHADOW then
        no_room = no_room or not all_fit
      end
    end
    c = next_group
  end
end

-- Closes the gates of the descriptors that found no room. A cost above the limit is a mistake and no excess, and quotas
-- refuse only where none has room.
local function start_blocks()
  local excess, ahead = {}, {}
  local c = first
  while c <= last do
    local role, descriptor = asked[c + ROLE], asked[c + DESCRIPTOR]
    local all_fit, next_group = true, c
    repeat
      all_fit = all_fit and fits[next_group] ~= false
      next_group = next_group + FIELDS
    until next_group > last or asked[next_group + ROLE] ~= role or asked[next_group + DESCRIPTOR] ~= descriptor
    for charge = c, next_group - 1, FIELDS do
      local seat, room = asked[charge], asked[charge + ROOM]
      local all_asked = (ahead[seat] or 0) + room
      if role ~= SHADOW then
        if fits[charge] == false and not (role == QUOTA and quota_room) then
          excess[descriptor] = excess[descriptor] ~= false and all_asked <= asked[charge + CAPACITY]
        end
        if asked[charge + TAKE] > 0 and (role ~= QUOTA or all_fit) then
          ahead[seat] = (ahead[seat] or 0) + asked[charge + TAKE]
        end
      end
    end
    c = next_group
  end
  for g = first_gate, last_gate, 4 do
    local seat, length = asked[g], asked[g + 2]
    if length > 0 and excess[asked[g + 1]] and not blocked[asked[g + 1]] then
      local stop = floor((now + length) / 1000) * 1000
      if stop >= time[seat] then
        used[seat], rest[seat], time[seat] = math.ceil(length / 1000000), 0, stop
      end
      changed[seat] = g
    end
  end
end

local refused = no_room
if each_alone then
  -- Shadows share no counter with others, so their turn may come last.
  pass(false)
  refused = no_room or (quota_seen and not quota_room)
  pass(true)
else
  pass(false)
  refused = no_room or (quota_seen and not quota_room)
  if refused then
    for seat in pairs(changed) do
      used[seat], rest[seat], time[seat] = used_before[seat], rest_before[seat], time_before[seat]
    end
    changed = {}
    -- What was spent already, and what is given back.
    for c = first, last, FIELDS do
      if asked[c + ROLE] == OVERDRAW or asked[c + ROOM] == 0 then
        take(c)
      end
    end
    if last_gate > last then
      start_blocks()
    end
  else
    pass(true)
  end
end

-- A PLAIN window that is there goes on to its end; another begins in its place.
local function write_plain(seat)
  local value = string.format('%.0f', used[seat])
  if time[seat] == stays_until[seat] then
    call('SET', KEYS[seat], value, 'KEEPTTL')
  else
    call('SET', KEYS[seat], value)
    call('PEXPIREAT', KEYS[seat], time[seat] / 1000)
  end
end

for seat, c in pairs(settled) do
  changed[seat] = changed[seat] or c
end

-- Whatever was changed is kept until it is as good as untouched, and no longer.
for seat, c in pairs(changed) do
  local left = time[seat] - now
  local plain, kept = false, true
  if c <= last then
    local algorithm, count = asked[c + ALGORITHM], asked[c + COUNT]
    if algorithm == SLIDING and used[seat] > 0 then
      left = left + asked[c + LONGEST]
    elseif algorithm == BUCKET then
      left = count > 0 and left + (used[seat] + 1) * asked[c + LENGTH] / count or 0
    end
    -- A limit of 0 refuses whatever it has counted: it must not fill the server.
    plain, kept = algorithm == PLAIN, count > 0 or asked[c + ROLE] == OVERDRAW or seen[seat]
  end
  if kept and plain then
    write_plain(seat)
  elseif kept then
    local value = string.format('%.0f %.0f %.0f', used[seat], rest[seat], time[seat])
    call('SET', KEYS[seat], value, 'PX', floor(min(max(left, 0), MOST) / 1000) + longer_ms)
  end
end

seen[#KEYS + 1] = now
seen[#KEYS + 2] = refused and 1 or 0
return seen
