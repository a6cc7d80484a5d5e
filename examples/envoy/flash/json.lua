-- JSON (RFC 8259), read strictly. Each function takes the text and where to begin, and returns what it read and where that ends.

local json = {}

local MAX_NESTING = 64 -- where read_value calls itself: the stack is bounded, the client's brackets are not

-- Ends the reading; graphql.lua answers the client.
local function malformed(why)
  error({ why = why }, 0)
end

json.NULL = {}
local WORDS = { ["true"] = true, ["false"] = false, ["null"] = json.NULL }
local ESCAPES =
  { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then
    return string.char(code)
  end
  local bytes, lead = {}, code < 0x800 and 0xC0 or code < 0x10000 and 0xE0 or 0xF0
  for place = code < 0x800 and 2 or code < 0x10000 and 3 or 4, 2, -1 do
    bytes[place] = string.char(0x80 + code % 64)
    code = math.floor(code / 64)
  end
  bytes[1] = string.char(lead + code)
  return table.concat(bytes)
end

-- The four digits behind `\u`, or eight and a second `\u` for what lies beyond the first 65,536 characters.
local function read_unicode(text, at)
  local high = tonumber(text:match("^%x%x%x%x", at) or malformed("an escape is incomplete"), 16)
  if high < 0xD800 or high > 0xDFFF then
    return utf8(high), at + 4
  end
  local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", at + 4) or malformed("half a surrogate pair"), 16)
  if high > 0xDBFF then
    malformed("half a surrogate pair")
  end
  return utf8(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00), at + 10
end

local function read_string(text, at)
  local parts = {}
  while true do
    local plain, stop = text:match('^([^"\\%z\1-\31]*)()', at)
    parts[#parts + 1] = plain
    local escape = text:match("^\\(.)", stop)
    if text:sub(stop, stop) == '"' then
      return table.concat(parts), stop + 1
    elseif escape == "u" then
      parts[#parts + 1], at = read_unicode(text, stop + 2)
    else
      parts[#parts + 1] = ESCAPES[escape or ""] or malformed("a JSON string is broken")
      at = stop + 2
    end
  end
end

local function read_number(text, at)
  local stop = text:match("^%-?0()", at) or text:match("^%-?[1-9]%d*()", at) or malformed("the body is not JSON")
  stop = text:match("^%.%d+()", stop) or stop
  stop = text:match("^[eE][+-]?%d+()", stop) or stop
  return tonumber(text:sub(at, stop - 1)), stop
end

-- Looks at one byte first: mostly there is no space, and patterns are what costs time here.
local function after_space(text, at)
  if (text:byte(at) or 0) > 32 then
    return at
  end
  return text:match("^[ \t\r\n]*()", at)
end

local read_value

-- Behind `[` or `{`: calls `member` for each up to `close`.
local function read_members(text, at, close, member)
  at = after_space(text, at)
  if text:sub(at, at) == close then
    return at + 1
  end
  while true do
    at = after_space(text, member(at))
    local mark = text:sub(at, at)
    if mark == close then
      return at + 1
    elseif mark ~= "," then
      malformed("the body is not JSON")
    end
    at = after_space(text, at + 1)
  end
end

local function read_array(text, at, nesting)
  local array = { is_array = true }
  return array, read_members(text, at, "]", function(start)
    local value, stop = read_value(text, start, nesting)
    array[#array + 1] = value
    return stop
  end)
end

local function read_object(text, at, nesting)
  local fields = {}
  return { fields = fields }, read_members(text, at, "}", function(start)
    if text:sub(start, start) ~= '"' then
      malformed("the body is not JSON")
    end
    local key, stop = read_string(text, start + 1)
    stop = after_space(text, stop)
    if text:sub(stop, stop) ~= ":" then
      malformed("the body is not JSON")
    end
    if fields[key] ~= nil then
      malformed("a key occurs twice")
    end
    fields[key], stop = read_value(text, stop + 1, nesting)
    return stop
  end)
end

function read_value(text, at, nesting)
  at = after_space(text, at)
  local first = text:sub(at, at)
  if first == '"' then
    return read_string(text, at + 1)
  elseif first == "{" or first == "[" then
    if nesting == MAX_NESTING then
      malformed("the body is nested too deeply")
    end
    return (first == "{" and read_object or read_array)(text, at + 1, nesting + 1)
  end
  if first == "-" or tonumber(first) then
    return read_number(text, at)
  end
  local word = text:match("^%l+", at) or ""
  local value = WORDS[word]
  if value == nil then
    malformed("the body is not JSON")
  end
  return value, at + #word
end

-- The value of a whole text. An object is `{fields = {…}}`, an array `{is_array = true, …}`, null `json.NULL`.
function json.read(text)
  local value, stop = read_value(text, 1, 0)
  if after_space(text, stop) <= #text then
    malformed("something follows the JSON")
  end
  return value
end

return json
